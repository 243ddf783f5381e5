import { useEffect } from "react";
import type { Message } from "../state/interface";
import { useStore } from "../state/store";

/** Messages to the user. Those that are no errors go by themselves. */
export function Messages() {
  const messages = useStore((state) => state.messages);
  return (
    <div className="messages" role="region" aria-label="Messages" aria-live="polite">
      {messages.map((message) => (
        <OneMessage key={message.id} message={message} />
      ))}
    </div>
  );
}

const SHOWN_MILLISECONDS = 6000;

function OneMessage({ message }: { message: Message }) {
  const dismiss = useStore((state) => state.dismiss);
  useEffect(() => {
    if (message.kind === "error") return;
    const timer = setTimeout(() => dismiss(message.id), SHOWN_MILLISECONDS);
    return () => clearTimeout(timer);
  }, [message, dismiss]);
  return (
    <div className={`message ${message.kind}`} role={message.kind === "error" ? "alert" : "status"}>
      <span className="grow">{message.text}</span>
      <button className="plain icon" aria-label="Dismiss" onClick={() => dismiss(message.id)}>
        ×
      </button>
    </div>
  );
}
