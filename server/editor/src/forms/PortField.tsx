import type { ReactNode } from "react";
import type { PortSchema } from "../api/types";
import type { Json } from "../document/syntax";
import { type GraphNode, INPUTS, type Port } from "../graph/graph";
import { linksIn } from "../graph/references";
import { problemsOf } from "../state/checking";
import { type Crumb, fileOf, rootDoc, runPath } from "../state/documents";
import { seedName } from "../state/seeds";
import { useStore } from "../state/store";
import { Field, type FieldProps } from "./Field";
import { openMask } from "./masks";
import { namesIn, purposeIn, purposeOfInput, takersOf } from "./purpose";
import { forFile, forRun } from "./stored";
import { isRun, writePort } from "./writing";

export type PortFieldProps = {
  crumb: Crumb;
  node: GraphNode;
  port: Port;
  compact?: boolean;
  /** Further buttons beside the label. */
  children?: ReactNode;
};

/**
 * The control of a port that takes a value: of a node, in the file; of the workflow's own inputs, among the values for
 * the next run. Draws the port's name itself. Nothing for a port that has a link.
 */
export function PortField({ crumb, node, port, compact, children }: PortFieldProps) {
  const run = node.id === INPUTS;
  const given = useStore((state) => (run ? state.docs[crumb.doc]?.history.now.values[port.name] : undefined));
  const errors = usePortProblems(crumb, node, port);
  const { purpose, offers } = usePurpose(crumb, node, port);
  const lockable = useStore((state) => rootDoc(state)?.name === crumb.doc);
  if (linksIn(port.source).length > 0) return null;
  if (run && !isRun(crumb))
    return compact ? null : <p className="quiet">{port.name}: given by the node that calls this file.</p>;
  const paints = purpose === "mask" || purpose === "picture";
  const field: FieldProps = {
    name: port.name, type: port.section === "times" ? "int" : port.type, schema: schemaOf(node, port), purpose, offers,
    value: run ? given : (port.source as Json | undefined), default: port.default, required: port.required,
    help: port.help, errors, compact, children, nameFile: run ? forRun : forFile,
    seed: lockable ? seedName(crumb.doc, run ? ["inputs", port.name] : pathOf(crumb, node, port)) : undefined,
    onChange: (value) => writePort(crumb, node, port, value),
    ...(paints && { onPaint: () => openMask(crumb, node, port, purpose) }),
  }; // prettier-ignore
  return <Field {...field} />;
}

/** The schema of a port; what a loop counts and a switch selects is known from the file itself. */
function schemaOf(node: GraphNode, port: Port): PortSchema | undefined {
  if (port.section === "times") return { type: "integer", minimum: 0 };
  if (port.section === "select") return { type: "string", enum: Object.keys(node.entry?.cases ?? {}) };
  return port.schema;
}

function pathOf(crumb: Crumb, node: GraphNode, port: Port): (string | number)[] {
  return [...crumb.body, "nodes", node.id, port.section, port.name];
}

/** What the checker says of a port, in words. */
export function usePortProblems(crumb: Crumb, node: GraphNode, port: Port): string[] {
  const check = useStore((state) => state.checks[rootDoc(state)?.name ?? ""]);
  const path = node.id === INPUTS ? crumb.via.join(".") : runPath(crumb, node.id);
  const found = problemsOf(check, path).filter((one) => one.node === path && one.port === port.name);
  return found.map((one) => (one.fix ? `${one.message}; ${one.fix}` : one.message));
}

/** What a port's text names, and the names that fit. */
function usePurpose(crumb: Crumb, node: GraphNode, port: Port): Pick<FieldProps, "purpose" | "offers"> {
  const catalog = useStore((state) => state.catalog);
  const models = useStore((state) => state.models);
  const doc = useStore((state) => (node.id === INPUTS ? state.docs[crumb.doc] : undefined));
  const file = doc && fileOf(doc);
  const known = catalog.get(node.type);
  const purpose = known ? purposeIn(known, port) : purposeOfInput(file, port, catalog);
  if (purpose !== "model") return { purpose };
  const helps = [port.help, ...takersOf(file, port.name, catalog).map((taker) => taker.port.help ?? "")];
  const names = helps.flatMap(namesIn).map((value) => ({ value }));
  const offers = [...models.map(({ path, title }) => ({ value: path, title })), ...names];
  return { purpose, offers: [...new Map(offers.map((one) => [one.value, one])).values()] };
}
