import type { Provenance } from "../document/png";
import { moment } from "../parts/words";
import { useStore } from "../state/store";
import { shortValue } from "./inputs";
import { tookOf } from "./PictureCard";
import type { Picture } from "./pictures";

/** All that is known of how a picture was made. */
export function PictureFacts({ picture, provenance }: { picture: Picture | undefined; provenance: Provenance | null }) {
  const declared = useStore((state) => state.workflows.find((one) => one.name === picture?.job.workflow)?.inputs);
  const inputs = provenance?.inputs ?? picture?.job.inputs ?? {};
  const isOwn = (name: string) =>
    declared?.[name] !== undefined && JSON.stringify(declared[name].default) !== JSON.stringify(inputs[name]);
  const names = Object.keys(inputs).sort((a, b) => Number(isOwn(b)) - Number(isOwn(a)));
  return (
    <div className="run-facts">
      {picture && <JobFacts picture={picture} />}
      <h3>Inputs</h3>
      <dl>
        {names.map((name) => (
          <div key={name} className={isOwn(name) ? "run-fact own" : "run-fact"}>
            <dt>{name}</dt>
            <dd>{shortValue(inputs[name])}</dd>
          </div>
        ))}
      </dl>
      {provenance && <Made provenance={provenance} />}
    </div>
  );
}

function JobFacts({ picture }: { picture: Picture }) {
  const { job } = picture;
  const facts = [
    ["workflow", job.workflow],
    ["output", picture.of > 1 ? `${picture.output}, ${picture.number + 1} of ${picture.of}` : picture.output],
    ["made", moment(job.finished ?? job.created)],
    ["took", tookOf(job)],
    ["job", job.id],
  ];
  return <Facts facts={facts.filter(([, value]) => value)} />;
}

function Made({ provenance }: { provenance: Provenance }) {
  return (
    <>
      <h3>Files</h3>
      <p className="quiet">{Object.keys(provenance.files).join(", ")}</p>
      <h3>Made with</h3>
      <Facts facts={Object.entries(provenance.environment)} />
    </>
  );
}

function Facts({ facts }: { facts: string[][] }) {
  return (
    <dl>
      {facts.map(([name, value]) => (
        <div key={name} className="run-fact">
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
