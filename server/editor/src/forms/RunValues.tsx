import { useMemo } from "react";
import { api } from "../api/client";
import { type GraphNode, INPUTS, type Port, readGraph } from "../graph/graph";
import { type Crumb, currentCrumb, currentTab, fileOf, rootDoc } from "../state/documents";
import { useSurroundings } from "../state/level";
import { useStore } from "../state/store";
import { controlOf } from "./control";
import { inOrder } from "./declaration";
import { PortField } from "./PortField";
import { forFile } from "./stored";

/** The inputs of the file that is run, whatever level of it is shown. */
function useRunInputs(): { crumb: Crumb; node: GraphNode } | null {
  const crumb = useStore((state) => currentTab(state).crumbs[0]);
  const doc = useStore(rootDoc);
  const around = useSurroundings(doc?.name, crumb);
  return useMemo(() => {
    const node = doc && readGraph(fileOf(doc), [], around).nodes.find((one) => one.id === INPUTS);
    return crumb && node ? { crumb, node } : null;
  }, [crumb, doc, around]);
}

/** What the next run takes: values beside the file, until one is made the default in it. */
export function RunValues() {
  const inputs = useRunInputs();
  const shown = useStore((state) => currentCrumb(state)?.doc);
  if (inputs === null || inputs.node.outputs.length === 0) return null;
  const { crumb, node } = inputs;
  const title = crumb.doc === shown ? "Values for the next run" : `Values for the next run of ${crumb.doc}`;
  return (
    <section className="form-section" aria-label={title}>
      <h3>{title}</h3>
      {inOrder(node.outputs).map((port) =>
        settable(port) ? (
          <PortField key={port.id} crumb={crumb} node={node} port={port}>
            <MakeDefault crumb={crumb} port={port} />
          </PortField>
        ) : (
          <p key={port.id} className="quiet">
            <b>{port.name}</b> ({port.type}) comes from the workflow that calls this one.
          </p>
        ),
      )}
    </section>
  );
}

/** Whether a value can be written for an input: also for one declared `any`, if what takes it wants a plain value. */
function settable(port: Port): boolean {
  return port.literal || controlOf(port).kind !== "json";
}

function MakeDefault({ crumb, port }: { crumb: Crumb; port: Port }) {
  const value = useStore((state) => state.docs[crumb.doc]?.history.now.values[port.name]);
  if (value === undefined) return null;
  const make = async () => {
    const { change, say } = useStore.getState();
    const path = ["inputs", port.name, "default"];
    try {
      const kept = await inFile(value);
      change(
        {
          edits: [{ op: "set", path, value: kept }],
          values: { [port.name]: undefined },
          label: `Default of ${port.name}`,
        },
        crumb.doc,
      );
    } catch (problem) {
      say("error", problem instanceof Error ? problem.message : String(problem));
    }
  };
  return (
    <button
      className="plain form-small"
      title={`Write this value into the file, as the default of ${port.name}`}
      onClick={() => void make()}
    >
      Make default
    </button>
  );
}

/** A value for a run as the file can hold it. */
async function inFile<Value>(value: Value): Promise<Value | string> {
  const id = typeof value === "string" ? /^file:([0-9a-f]{32})$/.exec(value)?.[1] : undefined;
  return id === undefined ? value : forFile({ id, media_type: await api.mediaType(id) });
}
