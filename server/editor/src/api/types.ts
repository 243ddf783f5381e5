/** What the server says, in the names of its OpenAPI document. */

import type { Json } from "../document/syntax";

export type PortSchema = {
  type?: string;
  enum?: Json[];
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  format?: string;
  items?: PortSchema;
  anyOf?: PortSchema[];
};

export type PortType = {
  type: string;
  required?: boolean;
  literal?: boolean;
  help?: string;
  default?: Json;
  schema?: PortSchema;
};

export type NodeType = {
  name: string;
  short_name: string;
  category: string;
  doc: string;
  pure: boolean;
  single: boolean;
  hooks: string[];
  inputs: Record<string, PortType>;
  outputs: Record<string, PortType>;
};

export type WorkflowInput = {
  type: string;
  required: boolean;
  default: Json;
  description: string;
  minimum: number | null;
  maximum: number | null;
  enum: Json[] | null;
};

export type WorkflowSummary = {
  name: string;
  title: string;
  description: string;
  shipped: boolean;
  version: string;
  inputs: Record<string, WorkflowInput>;
  outputs: string[];
  problems: Problem[];
};

export type Problem = {
  code: string;
  message: string;
  file: string;
  line: number;
  column: number;
  node: string;
  port: string;
  expected: string;
  got: string;
  fix: string;
  text: string;
};

export type PortTypes = { inputs: Record<string, string>; outputs: Record<string, string> };

export type CheckResult = {
  ok: boolean;
  problems: Problem[];
  types?: Record<string, PortTypes>;
  inputs?: Record<string, string>;
};

export type JobState = "queued" | "running" | "succeeded" | "failed" | "cancelled";
export type ResultFile = { id: string; media_type: string; bytes: number };
export type ResultValue = { key: string; type: string; files: ResultFile[] };

export type JobError = {
  kind: string;
  message: string;
  node?: string;
  problems?: Problem[];
  [more: string]: unknown;
};

export type Job = {
  id: string;
  state: JobState;
  workflow: string;
  inputs: Record<string, Json>;
  priority: number;
  attempts: number;
  cancelling: boolean;
  created: number;
  started: number | null;
  finished: number | null;
  position: number | null;
  progress: number | null;
  seconds_left: number | null;
  result: Record<string, ResultValue> | null;
  error: JobError | null;
  request_id: string;
};

/** One event of a job: `state`, `run_started`, `expanded`, `started`, `finished`, `cached`, `preview`, `failed`, ... */
export type JobEvent = { job: string; n: number; event: string; data: Record<string, unknown> };

export type CallKey = { key: string; cached: boolean };
export type Keys = { keys: Record<string, CallKey>; complete: boolean };

export type TensorNumbers = {
  shape: number[];
  dtype: string;
  not_finite?: number;
  min?: number;
  max?: number;
  mean?: number;
  std?: number;
  histogram?: number[];
  /** All numbers of a short row, such as the timesteps of a schedule. */
  values?: number[];
};

export type ValueView = {
  key: string;
  outputs: { type: string; value?: Json; tensors?: Record<string, TensorNumbers>; [more: string]: unknown }[];
};

export type Upload = { id: string; media_type: string; bytes: number; [more: string]: unknown };
export type Plugin = { name: string; nodes: string[]; error: string | null };
export type Model = { path: string; title: string };

/** A workflow as the editor holds it: its name, and the texts that stand in for files on the server. */
export type Asked = { workflow: string; files: Record<string, string>; inputs?: Record<string, Json> };
