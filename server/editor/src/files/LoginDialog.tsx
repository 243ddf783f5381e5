import { type FormEvent, useId, useState } from "react";
import { ApiProblem, api } from "../api/client";
import { Modal } from "../parts/Modal";
import { useStore } from "../state/store";
import { beginsHere } from "./focus";
import { start } from "./live";

/** Asks for the server's token, and starts again with it. */
export default function LoginDialog() {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState("");
  const closeDialog = useStore((state) => state.closeDialog);
  const id = useId();
  const login = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await api.login(token.trim());
    } catch (refused) {
      if (!(refused instanceof ApiProblem)) throw refused;
      return setProblem(refused.status === 401 ? "This is not the server's token." : refused.message);
    }
    closeDialog();
    await start();
  };
  return (
    <Modal title="This server wants a token">
      <form className="column" onSubmit={(event) => void login(event)}>
        <p className="quiet">
          It is the first line of the file that the server was started with (<code>--token-file</code>). The browser keeps it in a
          cookie that scripts cannot read.
        </p>
        <input hidden readOnly autoComplete="username" value="stepgraph" />
        <label htmlFor={id}>Token</label>
        <input
          id={id}
          type="password"
          autoComplete="current-password"
          ref={beginsHere}
          value={token}
          aria-invalid={problem !== ""}
          aria-describedby={`${id}-said`}
          onChange={(event) => setToken(event.target.value)}
        />
        <p id={`${id}-said`} role="alert" className="bad">
          {problem}
        </p>
        <div className="row dialog-buttons">
          <button type="submit" className="primary" disabled={token.trim() === ""}>
            Log in
          </button>
        </div>
      </form>
    </Modal>
  );
}
