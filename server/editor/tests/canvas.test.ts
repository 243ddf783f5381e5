import { describe, expect, test } from "vitest";
import type { NodeType } from "../src/api/types";
import { flowLinks, flowNodes, named, noteId } from "../src/canvas/flow";
import { layOutGraph, withoutShortcuts } from "../src/canvas/layout";
import { type Offer, found, offerFits, portFor, score } from "../src/canvas/offers";
import { positionsOf, remember } from "../src/canvas/placement";
import { MOST_FIELDS, rowsOf } from "../src/canvas/rows";
import { sizeOf, socketsOf } from "../src/canvas/size";
import { applyEdits } from "../src/document/edit";
import { begin } from "../src/document/history";
import { type Tree, parse, valueOf } from "../src/document/syntax";
import type { WorkflowFile } from "../src/document/workflow";
import { type Graph, INPUTS, type Link, OUTPUTS, type Surroundings, readGraph } from "../src/graph/graph";
import { isList, typeColor } from "../src/parts/typeColor";
import type { Level } from "../src/state/level";

const many = Object.fromEntries(Array.from({ length: 12 }, (_, at) => [`p${at}`, { type: "int", literal: true, required: false }]));
const types: NodeType[] = [
  nodeType("decode", "image", { latents: { type: "Latents", required: true }, tiled: { type: "bool", literal: true } }, { output: { type: "Image" } }),
  nodeType("upscale", "latents", { latents: { type: "Latents", required: true } }, { output: { type: "Latents" } }),
  nodeType("load", "model", { path: { type: "str", literal: true, required: true } }, { latents: { type: "Latents" }, all: { type: "list[Latents]" } }),
  nodeType("many", "text", many, { output: { type: "str" } }),
];

function nodeType(name: string, category: string, inputs: NodeType["inputs"], outputs: NodeType["outputs"]): NodeType {
  return { name, short_name: name, category, doc: `What ${name} does.`, pure: true, single: true, hooks: [], inputs, outputs };
}

const around: Surroundings = {
  catalog: new Map(types.map((type) => [type.name, type])), workflows: new Map(), types: {}, prefix: "", inputTypes: {},
}; // prettier-ignore

const TEXT = `{"stepgraph": 1, "inputs": {"path": {"type": "path", "default": "x"}}, "nodes": {
  "a": {"type": "load", "inputs": {"path": {"from": "inputs.path"}}},
  "b": {"type": "decode", "inputs": {"latents": {"from": "a.latents"}}}},
  "outputs": {"image": {"from": "b"}}}`;

function levelOf(tree: Tree, doc: string): Level {
  const file = valueOf(tree.root) as WorkflowFile;
  const history = { ...begin("{}"), now: { tree, values: {}, label: "", group: null, time: 0 } };
  return {
    crumb: { doc, body: [], via: [] }, doc: { name: doc, history, saved: null, version: null, shipped: false }, file,
    graph: readGraph(file, [], around),
  }; // prettier-ignore
}

const look = { positions: {}, check: undefined, unfolded: new Set<string>(), selection: [] };

describe("nodes that are drawn", () => {
  test("stay the very objects where an edit does not touch them", () => {
    const tree = parse(TEXT);
    const before = flowNodes(levelOf(tree, "kept"), look, []);
    const again = flowNodes(levelOf(tree, "kept"), look, before);
    expect(again.every((node, at) => node === before[at])).toBe(true);
    const edited = applyEdits(tree, [{ op: "set", path: ["nodes", "b", "title"], value: "B" }]);
    const after = flowNodes(levelOf(edited, "kept"), look, before);
    expect(after.filter((node, at) => node !== before[at]).map((node) => node.id)).toEqual(["b"]);
  });

  test("that are dragged stay where the pointer has them", () => {
    const level = levelOf(parse(TEXT), "dragged");
    const before = flowNodes(level, look, []).map((node) => (node.id === "a" ? { ...node, dragging: true, position: { x: 7, y: 9 } } : node));
    const after = flowNodes(level, { ...look, positions: { a: [1, 1], b: [5, 5] } }, before);
    expect(after.find((node) => node.id === "a")?.position).toEqual({ x: 7, y: 9 });
    expect(after.find((node) => node.id === "b")?.position).toEqual({ x: 5, y: 5 });
  });

  test("have a socket for each link that ends at them", () => {
    const { graph } = levelOf(parse(TEXT), "sockets");
    for (const link of flowLinks(graph, new Set(), [])) {
      const source = graph.nodes.find((node) => node.id === link.source)!;
      const target = graph.nodes.find((node) => node.id === link.target)!;
      expect(socketsOf(source, false, false).some((one) => one.type === "source" && one.id === link.sourceHandle)).toBe(true);
      expect(socketsOf(target, false, true).some((one) => one.type === "target" && one.id === link.targetHandle)).toBe(true);
    }
  });

  test("ids of notes are told from names of nodes", () => {
    expect(named(noteId("a:b"))).toEqual({ kind: "notes", name: "a:b" });
    expect(named(INPUTS)).toEqual({ kind: "node", name: INPUTS });
  });
});

describe("rows of a node", () => {
  const graphOf = (inputs: object) => {
    const file = { stepgraph: 1, nodes: { n: { type: "many", inputs } } } as unknown as WorkflowFile;
    return readGraph(file, [], around).nodes.find((node) => node.id === "n")!;
  };
  test("unset optional fields are folded away, and unfolded on demand", () => {
    const node = graphOf({ p3: 1 });
    expect(rowsOf(node, false).rows.flatMap((row) => row.input?.name ?? [])).toEqual(["p3"]);
    expect(rowsOf(node, false).hidden).toBe(11);
    expect(rowsOf(node, true).rows.filter((row) => row.input)).toHaveLength(12);
    expect(sizeOf(node, true, false).height).toBeGreaterThan(sizeOf(node, false, false).height);
  });
  test("no more than a few fields are shown, links always", () => {
    const node = graphOf(Object.fromEntries(Object.keys(many).map((name) => [name, name === "p11" ? { from: "x" } : 1])));
    const { rows, hidden } = rowsOf(node, false);
    expect(rows.filter((row) => row.field)).toHaveLength(MOST_FIELDS);
    expect(rows.some((row) => row.input?.name === "p11")).toBe(true);
    expect(hidden).toBe(11 - MOST_FIELDS);
  });
});

describe("places", () => {
  test("a level that was never laid out has none; what is placed stays, what is new finds its own", () => {
    const tree = parse(TEXT);
    const level = levelOf(tree, "places");
    expect(positionsOf(level)).toBeNull();
    remember(level.crumb, { [INPUTS]: [0, 0], a: [300, 0], b: [600, 0], [OUTPUTS]: [900, 0] });
    const grown = applyEdits(tree, [{ op: "set", path: ["nodes", "c"], value: { type: "upscale", inputs: { latents: { from: "a.latents" } } } }]);
    const places = positionsOf(levelOf(grown, "places"))!;
    expect(places.b).toEqual([600, 0]);
    expect(places.c![0]).toBeGreaterThan(300);
    expect(places.c).not.toEqual(places.b);
    expect(positionsOf(levelOf(grown, "places"))).toEqual(places);
  });
  test("the file has the last word", () => {
    const tree = applyEdits(parse(TEXT), [{ op: "set", path: ["layout"], value: { positions: { a: [1, 2] } } }]);
    remember({ doc: "word", body: [], via: [] }, { a: [9, 9] });
    expect(positionsOf(levelOf(tree, "word"))!.a).toEqual([1, 2]);
  });
});

describe("the palette", () => {
  const offer = (type: NodeType): Offer => ({
    id: type.name, title: type.name, category: type.category, doc: type.doc, node: { type: type.name },
    inputs: Object.entries(type.inputs).map(([name, port]) => ({ name, type: port.type, required: port.required ?? false })),
    outputs: Object.entries(type.outputs).map(([name, port]) => ({ name, type: port.type, required: false })),
  }); // prettier-ignore
  const offers = types.map(offer);
  test("finds by name before type before documentation, and nothing that lacks a word", () => {
    expect(found(offers, "decode", [], null)[0]?.title).toBe("decode");
    expect(found(offers, "image", [], null)[0]?.title).toBe("decode");
    expect(score(offers[0]!, "decode nonsense")).toBe(0);
    expect(score(offers[0]!, "dec")).toBeGreaterThan(score(offers[0]!, "does"));
  });
  test("offers what fits a link, in both directions, with the port of just its type", () => {
    const out = { node: "a", port: "latents", type: "Latents", side: "output" as const };
    expect(found(offers, "", [], out).map((one) => one.title).sort()).toEqual(["decode", "upscale"]);
    const into = { node: "b", port: "latents", type: "Latents", side: "input" as const };
    expect(portFor(offers[2]!, into)?.name).toBe("latents");
    expect(offerFits(offers[3]!, into)).toBe(false);
  });
  test("what was used last comes first", () => {
    expect(found(offers, "", ["many"], null)[0]?.title).toBe("many");
  });
});

test("colours go by the type: optional ones and lists like their items, unknown ones always the same", () => {
  expect(typeColor("Latents or None")).toBe(typeColor("Latents"));
  expect(typeColor("list[Latents]")).toBe(typeColor("Latents"));
  expect(typeColor("MyPluginType")).toBe(typeColor("MyPluginType"));
  expect(typeColor("Latents")).not.toBe(typeColor("Image"));
  expect([isList("list[Image]"), isList("Timesteps"), isList("Image")]).toEqual([true, true, false]);
});

describe("laying out", () => {
  const nodes = (names: readonly string[]) => names.map((id) => ({ id }) as Graph["nodes"][number]);
  const link = (from: string, to: string): Link => ({ id: `${from}>${to}`, from, output: "output", to, input: "input" });
  const ends = (links: readonly Link[]) => links.map((one) => one.id);
  test("a shortcut is a link between nodes that a longer way joins too", () => {
    const links = [link("a", "b"), link("b", "c"), link("a", "c"), link("a", "d"), link("c", "d"), link("x", "c")];
    expect(ends(withoutShortcuts(links))).toEqual(["a>b", "b>c", "c>d", "x>c"]);
    expect(ends(withoutShortcuts([link("a", "b"), link("b", "a")]))).toEqual(["a>b", "b>a"]);
  });
  test("of many nodes too, each is to the right of what it takes from, and none is over another", () => {
    const size = { width: 220, height: 120 };
    const chains = Array.from({ length: 40 }, (_, at) => [`a${at}`, `b${at}`, `c${at}`]);
    const links = chains.flatMap(([a, b, c]) => [link("model", a!), link(a!, b!), link(b!, c!), link("model", c!)]);
    const graph = { file: {} as WorkflowFile, nodes: nodes(["model", ...chains.flat()]), links };
    const places = layOutGraph(graph, () => size);
    for (const { from, to } of links) expect(places[to]![0]).toBeGreaterThanOrEqual(places[from]![0] + size.width);
    const boxes = Object.values(places);
    const over = boxes.filter(([x, y], at) =>
      boxes.some(([left, top], other) => other !== at && Math.abs(left - x) < size.width && Math.abs(top - y) < size.height),
    );
    expect(over).toEqual([]);
  });
});
