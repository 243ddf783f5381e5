import { api } from "../api/client";
import { type Crumb, rootDoc } from "../state/documents";
import { useStore } from "../state/store";

/** The picture that the run which is shown gave for an output of the workflow, beside the output. */
export function Result({ crumb, name }: { crumb: Crumb; name: string }) {
  const files = useStore((state) => {
    const run = state.runs[state.shown[rootDoc(state)?.name ?? ""] ?? ""];
    return crumb.via.length === 0 ? run?.job.result?.[name]?.files : undefined;
  });
  const picture = files?.find((file) => file.media_type.startsWith("image/"));
  if (picture === undefined) return null;
  return <img className="node-preview" src={api.fileUrl(picture.id)} alt={`The output ${name}`} draggable={false} />;
}
