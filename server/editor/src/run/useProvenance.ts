import { useEffect, useState } from "react";
import { api } from "../api/client";
import { type Provenance, readProvenance } from "../document/png";

export type Found = { provenance: Provenance | null; problem: string };

const NOTHING: Found = { provenance: null, problem: "" };

/** What a picture of the server says of how it was made. */
export function useProvenance(file: string): Found {
  const [found, setFound] = useState<Found & { file: string }>({ ...NOTHING, file });
  useEffect(() => {
    let left = false;
    const put = (now: Found) => !left && setFound({ ...now, file });
    provenanceOf(file).then(
      (provenance) => put({ provenance, problem: "" }),
      (problem: Error) => put({ provenance: null, problem: problem.message }),
    );
    return () => {
      left = true;
    };
  }, [file]);
  return found.file === file ? found : NOTHING;
}

async function provenanceOf(file: string): Promise<Provenance> {
  return readProvenance(new Uint8Array(await (await pictureOf(file)).arrayBuffer()));
}

/** The bytes of a picture. Rejects with what is wrong, in words. */
export async function pictureOf(file: string): Promise<Blob> {
  const answer = await fetch(api.fileUrl(file)).catch(() => null);
  if (answer === null) throw new Error("The server cannot be reached; the picture cannot be read.");
  if (!answer.ok) throw new Error("The server does not have this picture any more.");
  return answer.blob();
}
