import { type ReactNode, useEffect, useRef, useState } from "react";
import { api } from "../api/client";
import { Combobox } from "./Combobox";
import type { ControlProps } from "./Field";
import { GalleryPick } from "./GalleryPick";
import type { Purpose } from "./control";
import { Brush, Gallery, Upload } from "./icons";
import { written } from "./parse";
import { pictureUrl } from "./pixels";
import { type StoredFile, forRun } from "./stored";

type BoxGiven = ControlProps & { purpose: Purpose };
/** A file to upload, or one that the server has. */
type Given = File | StoredFile;

const ACCEPTED: Record<Purpose, string> = {
  model: "",
  picture: "image/png,image/jpeg,image/webp",
  mask: "image/png,image/jpeg,image/webp",
  file: ".png,.jpg,.jpeg,.webp,.safetensors",
};

/** A path, with what helps to find the right one: names of models; for pictures upload, gallery and brush. */
export function PathBox({ purpose, ...given }: BoxGiven) {
  return purpose === "model" ? <ModelBox {...given} /> : <FileBox {...given} purpose={purpose} />;
}

function ModelBox({ field, draft, aria }: ControlProps) {
  return (
    <Combobox
      aria={aria}
      text={draft.text}
      placeholder={written(field.default)}
      offers={field.offers ?? []}
      free
      onText={draft.type}
      onChoose={draft.type}
      onLeave={draft.leave}
    />
  );
}

/** What was dropped: a file, or a picture of this page, which the server has already. */
async function fileIn(data: DataTransfer): Promise<Given | null> {
  const id = /\/api\/v1\/files\/([0-9a-f]{32})/.exec(data.getData("text/uri-list"))?.[1];
  const file = data.files[0] ?? null;
  return id === undefined ? file : { id, media_type: await api.mediaType(id) };
}

function FileBox({ field, draft, shown, aria, purpose }: BoxGiven) {
  const [busy, setBusy] = useState(false);
  const [over, setOver] = useState(false);
  const [trouble, setTrouble] = useState("");
  const take = async (given: Given | Promise<Given | null>) => {
    setTrouble("");
    setBusy(true);
    try {
      const found = await given;
      if (found !== null)
        field.onChange((field.nameFile ?? forRun)(found instanceof File ? await api.upload(found, found.name) : found));
    } catch (problem) {
      setTrouble(`The file was not taken: ${problem instanceof Error ? problem.message : String(problem)}`);
    } finally {
      setBusy(false);
    }
  };
  return (
    <div
      className={over ? "field-file over" : "field-file"}
      onDragOver={(event) => {
        event.preventDefault();
        event.stopPropagation();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        event.stopPropagation();
        setOver(false);
        void take(fileIn(event.dataTransfer));
      }}
    >
      {purpose !== "file" && <Thumbnail of={pictureUrl(shown)} name={field.name} />}
      <div className="field-file-tools">
        <input
          {...aria}
          autoComplete="off"
          value={draft.text}
          placeholder={written(field.default)}
          onBlur={draft.leave}
          onChange={(event) => draft.type(event.target.value)}
          onPaste={(event) => {
            const found = event.clipboardData.files[0];
            if (!found) return;
            event.preventDefault();
            void take(found);
          }}
        />
        <Tools field={field} purpose={purpose} busy={busy} take={take} />
      </div>
      {trouble && (
        <p className="bad field-error" role="alert">
          {trouble}
        </p>
      )}
    </div>
  );
}

const SETTLED_MILLISECONDS = 400;

/** The picture that a path names, once nobody types any more; nothing where there is none. */
function Thumbnail({ of, name }: { of: string | null; name: string }) {
  const [settled, setSettled] = useState(of);
  const [missing, setMissing] = useState<string | null>(null);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(of), SETTLED_MILLISECONDS);
    return () => clearTimeout(timer);
  }, [of]);
  if (settled === null || settled !== of || missing === of) return null;
  return (
    <img className="field-thumbnail" src={of} alt={`${name} now`} draggable={false} onError={() => setMissing(of)} />
  );
}

type ToolsGiven = { field: ControlProps["field"]; purpose: Purpose; busy: boolean; take(found: Given): Promise<void> };

function Tools({ field, purpose, busy, take }: ToolsGiven) {
  const chooser = useRef<HTMLInputElement>(null);
  const tools = useRef<HTMLDivElement>(null);
  const [picking, setPicking] = useState(false);
  const paints = purpose === "mask" ? "Paint the mask" : "Paint a mask on it";
  return (
    <div className="field-tools" ref={tools}>
      <Tool
        words={busy ? "Uploading…" : "Upload"}
        of={field}
        disabled={busy}
        icon={<Upload />}
        press={() => chooser.current?.click()}
      />
      <input
        ref={chooser}
        type="file"
        hidden
        aria-label={`Upload a file for ${field.name}`}
        accept={ACCEPTED[purpose]}
        onChange={(event) => {
          const file = event.target.files?.[0];
          event.target.value = ""; // the same file may be chosen again
          if (file) void take(file);
        }}
      />
      {purpose !== "file" && <Tool words="Gallery" of={field} icon={<Gallery />} press={() => setPicking(!picking)} />}
      {field.onPaint && <Tool words={paints} of={field} icon={<Brush />} press={field.onPaint} />}
      {picking && <GalleryPick anchor={tools} onClose={() => setPicking(false)} onPick={(file) => void take(file)} />}
    </div>
  );
}

type ToolGiven = { words: string; of: ControlProps["field"]; icon: ReactNode; disabled?: boolean; press(): void };

function Tool({ words, of, icon, disabled, press }: ToolGiven) {
  return (
    <button
      className="field-tool"
      disabled={disabled}
      title={words}
      aria-label={`${words}: ${of.name}`}
      onClick={press}
    >
      {icon}
      {!of.compact && words}
    </button>
  );
}
