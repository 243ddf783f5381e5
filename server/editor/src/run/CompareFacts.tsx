import type { Provenance } from "../document/png";
import { diffWorkflows } from "../document/diff";
import { type Json, parse, valueOf } from "../document/syntax";
import type { WorkflowFile } from "../document/workflow";
import type { Pair } from "./CompareDialog";
import { inputDifferences, shortValue } from "./inputs";
import { tookOf } from "./PictureCard";
import { useProvenance } from "./useProvenance";

type Row = { name: string; before: Json | undefined; after: Json | undefined };

/** What differs in how two pictures were made: their inputs, and their workflows entry by entry. */
export function CompareFacts({ pair }: { pair: Pair }) {
  const [a, b] = [useProvenance(pair[0].file), useProvenance(pair[1].file)];
  const [inputsA, inputsB] = [a.provenance?.inputs ?? pair[0].job.inputs, b.provenance?.inputs ?? pair[1].job.inputs];
  const took = { name: "took", before: tookOf(pair[0].job), after: tookOf(pair[1].job) };
  return (
    <div className="column">
      <Table title="Inputs that differ" nothing="All inputs are equal." rows={inputDifferences(inputsA, inputsB)} />
      <Workflows a={a.provenance} b={b.provenance} problem={a.problem || b.problem} />
      <Table title="Run" nothing="" rows={[...made(a.provenance, b.provenance), took]} />
    </div>
  );
}

function Workflows({ a, b, problem }: { a: Provenance | null; b: Provenance | null; problem: string }) {
  if (a === null || b === null) return <p className="quiet">{problem || "One moment…"}</p>;
  return <Table title="Workflows" nothing="The workflows are equal." rows={workflowDifferences(a, b)} />;
}

/** Entries that differ, of all files: the main ones are compared whatever they are called. */
export function workflowDifferences(a: Provenance, b: Provenance): Row[] {
  const others = new Set(
    [...Object.keys(a.files), ...Object.keys(b.files)].filter((file) => file !== a.workflow && file !== b.workflow),
  );
  const main = between(
    a.files[a.workflow],
    b.files[b.workflow],
    a.workflow === b.workflow ? "" : `${a.workflow} → ${b.workflow} `,
  );
  return [...main, ...[...others].flatMap((file) => between(a.files[file], b.files[file], `${file} `))];
}

function between(before: string | undefined, after: string | undefined, prefix: string): Row[] {
  if (before === undefined || after === undefined) {
    const there = (text: string | undefined) => (text === undefined ? undefined : "this file");
    return [{ name: prefix.trim(), before: there(before), after: there(after) }];
  }
  return diffWorkflows(fileFrom(before), fileFrom(after)).map((one) => ({
    name: prefix + (one.path.join(".") || "the file"), before: one.before, after: one.after,
  })); // prettier-ignore
}

function fileFrom(text: string): WorkflowFile {
  return valueOf(parse(text).root) as WorkflowFile;
}

/** Versions that differ. */
function made(a: Provenance | null, b: Provenance | null): Row[] {
  return a && b ? inputDifferences(a.environment, b.environment) : [];
}

function Table({ title, nothing, rows }: { title: string; nothing: string; rows: readonly Row[] }) {
  if (rows.length === 0) return <p className="quiet">{nothing}</p>;
  return (
    <table className="run-differences">
      <caption>{title}</caption>
      <thead>
        <tr>
          <th scope="col">What</th>
          <th scope="col">A</th>
          <th scope="col">B</th>
        </tr>
      </thead>
      <tbody>
        {rows.map(({ name, before, after }) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td>{shortValue(before)}</td>
            <td>{shortValue(after)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
