import { codeIn, readDocumentation } from "./documentation";

/** A text with the names that stand in it between backticks. */
export function Prose({ text }: { text: string }) {
  return codeIn(text).map((part, at) => (part.code ? <code key={at}>{part.text}</code> : part.text));
}

/** What a node type does: the first sentence, and the rest for those who want it. */
export function DocumentationOf({ doc }: { doc: string }) {
  const { summary, paragraphs, sections } = readDocumentation(doc);
  if (summary === "") return null;
  return (
    <div className="form-doc">
      <p>
        <Prose text={summary} />
      </p>
      {(paragraphs.length > 0 || sections.length > 0) && (
        <details>
          <summary>More</summary>
          {paragraphs.map((one) => (
            <p key={one}>
              <Prose text={one} />
            </p>
          ))}
          {sections.map((section) => (
            <div key={section.title}>
              <h4>{section.title}</h4>
              {section.paragraphs.map((one) => (
                <p key={one}>
                  <Prose text={one} />
                </p>
              ))}
            </div>
          ))}
        </details>
      )}
    </div>
  );
}
