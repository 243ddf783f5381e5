/** Jobs that the page has done beside what people run, such as decoding the steps of a loop: no list shows them. */

/** What the names of their workflows have in them. */
export const ASIDE = "__steps";

export function isAside(job: { workflow: string }): boolean {
  return job.workflow.includes(ASIDE);
}
