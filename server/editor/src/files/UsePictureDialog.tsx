import { Modal } from "../parts/Modal";
import { perform } from "../state/command";
import { useStore } from "../state/store";
import { pictureInputs, usePicture } from "./opening";

/** A picture that holds no workflow: it may be the input of one. */
export default function UsePictureDialog({ about }: { about: unknown }) {
  const { file, why } = about as { file: File; why: string };
  const closeDialog = useStore((state) => state.closeDialog);
  const inputs = pictureInputs(useStore.getState());
  const use = (input: string, open?: string) => {
    closeDialog();
    void perform({ id: "use-picture", title: "Use the picture", run: () => usePicture(file, input, open) });
  };
  return (
    <Modal title={file.name}>
      <div className="column">
        <p>{why}</p>
        <p>It can be what a workflow starts from:</p>
        <div className="column">
          {inputs.map((input) => (
            <button key={input} className="primary" onClick={() => use(input)}>
              Use it as “{input}” of this workflow
            </button>
          ))}
          <button onClick={() => use("image", "img2img")}>Open “Image to image” with it</button>
          <button onClick={() => use("image", "inpaint")}>Open “Inpaint” with it</button>
        </div>
      </div>
    </Modal>
  );
}
