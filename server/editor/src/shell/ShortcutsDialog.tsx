import { Modal } from "../parts/Modal";
import { commands } from "./commands";
import "./ShortcutsDialog.css";

/** Every command that has keys, and where more is to be read. */
export default function ShortcutsDialog() {
  const listed = commands.filter((command) => command.keys?.length);
  return (
    <Modal title="Keyboard shortcuts">
      <table className="shortcuts">
        <tbody>
          {listed.map((command) => (
            <tr key={command.id}>
              <th scope="row">{command.title}</th>
              <td>
                {command.keys?.map((keys) => (
                  <kbd key={keys}>{keys}</kbd>
                ))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <p className="shortcuts-more quiet">
        <a href="/api/docs">The API</a> · <a href="/assets/licenses.md">Licences of the libraries in this page</a>
      </p>
    </Modal>
  );
}
