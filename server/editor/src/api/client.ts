/** The server's API: requests that answer with values or throw an ApiProblem in the server's words. */

import { isAside } from "./aside";
import type {
  Asked, CheckResult, Job, Keys, Model, NodeType, Plugin, Problem, Upload, ValueView, WorkflowSummary,
} from "./types"; // prettier-ignore

export const UNREACHABLE = "The server cannot be reached. Your work is kept here; it goes on when the server is back.";

/** What the server refused, or that it could not be reached (status 0). */
export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly problems: readonly Problem[] = [],
    readonly requestId: string = "",
  ) {
    super(message);
  }

  get unreachable(): boolean {
    return this.status === 0;
  }
}

async function send(method: string, path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { method, ...init });
  } catch {
    throw new ApiProblem(0, UNREACHABLE);
  }
  if (response.ok) return response;
  throw await refusal(response);
}

async function refusal(response: Response): Promise<ApiProblem> {
  const requestId = response.headers.get("X-Request-Id") ?? "";
  try {
    const body = (await response.json()) as { detail?: string; title?: string; problems?: Problem[] };
    return new ApiProblem(response.status, body.detail ?? body.title ?? response.statusText, body.problems, requestId);
  } catch {
    return new ApiProblem(response.status, `${response.status} ${response.statusText}`, [], requestId);
  }
}

async function get<T>(path: string): Promise<T> {
  return (await send("GET", path)).json() as Promise<T>;
}

async function post<T>(path: string, body: unknown): Promise<T> {
  const headers = { "Content-Type": "application/json" };
  return (await send("POST", path, { headers, body: JSON.stringify(body) })).json() as Promise<T>;
}

export type Stored = { text: string; version: string };

const workflowPath = (name: string) => `/api/v1/workflows/${encodeURIComponent(name)}`;

export const api = {
  nodes: async () => (await get<{ nodes: NodeType[] }>("/api/v1/nodes")).nodes,
  types: async () =>
    (await get<{ types: Record<string, { doc: string; made_by: string[]; taken_by: string[] }> }>("/api/v1/types")).types,
  plugins: async () => (await get<{ plugins: Plugin[] }>("/api/v1/plugins")).plugins,
  models: async () => (await get<{ models: Model[] }>("/api/v1/models")).models,
  workflows: async () => (await get<{ workflows: WorkflowSummary[] }>("/api/v1/workflows")).workflows,

  async workflow(name: string): Promise<Stored> {
    const response = await send("GET", workflowPath(name), { cache: "no-cache" });
    // `response.text()` would drop a byte order mark, and a save with it.
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(await response.arrayBuffer());
    return { text, version: response.headers.get("ETag") ?? "" };
  },

  /** Stores a text; `version` is the one that it was made from, null for a new workflow. 412 where it is another one. */
  async save(name: string, text: string, version: string | null): Promise<string> {
    const headers: Record<string, string> = { "Content-Type": "application/json" };
    if (version !== null) headers["If-Match"] = version;
    return (await send("PUT", workflowPath(name), { headers, body: text })).headers.get("ETag") ?? "";
  },

  async remove(name: string, version: string): Promise<void> {
    await send("DELETE", workflowPath(name), { headers: { "If-Match": version } });
  },

  check: (asked: Asked) => post<CheckResult>("/api/v1/check", asked),
  explain: (asked: Asked) =>
    post<{ nodes: { node: string; type: string; state: string; cached: number; total: number; reason: string }[] }>(
      "/api/v1/explain",
      asked,
    ),
  keys: (asked: Asked & { nodes?: string[] }) => post<Keys>("/api/v1/keys", asked),

  run: (asked: Asked & { outputs?: string[]; priority?: number; previews?: boolean }) => post<Job>("/api/v1/jobs", asked),
  job: (id: string) => get<Job>(`/api/v1/jobs/${id}`),
  jobs: async (query: { state?: string; before?: string; limit?: number } = {}) => {
    const { jobs, next } = await get<{ jobs: Job[]; next: string | null }>(`/api/v1/jobs?${new URLSearchParams(strings(query))}`);
    return { jobs: jobs.filter((job) => !isAside(job)), next };
  },
  cancel: async (id: string): Promise<Job> => (await send("DELETE", `/api/v1/jobs/${id}`)).json() as Promise<Job>,
  retry: (id: string) => post<Job>(`/api/v1/jobs/${id}/retry`, {}),

  value: (key: string) => get<ValueView>(`/api/v1/values/${key}`),
  previewUrl: (key: string) => `/api/v1/values/${key}/preview`,
  fileUrl: (id: string) => `/api/v1/files/${id}`,
  /** A picture by the path that a workflow names it with. */
  pictureUrl: (path: string) => `/api/v1/pictures?${new URLSearchParams({ path })}`,
  mediaType: async (id: string) => (await send("HEAD", `/api/v1/files/${id}`)).headers.get("Content-Type") ?? "",

  async upload(file: Blob, name: string): Promise<Upload> {
    const form = new FormData();
    form.append("file", file, name);
    return (await send("POST", "/api/v1/uploads", { body: form })).json() as Promise<Upload>;
  },

  async login(token: string): Promise<void> {
    const headers = { "Content-Type": "application/json" };
    await send("POST", "/api/v1/login", { headers, body: JSON.stringify({ token }) });
  },
};

function strings(query: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(Object.entries(query).flatMap(([name, value]) => (value == null ? [] : [[name, String(value)]])));
}
