// Mermaid's own parser on texts from standard input: what it understood, or why it did not.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { readFileSync } from "node:fs";

const require = createRequire(pathToFileURL(`${process.argv[2]}/package.json`));
const { JSDOM } = require("jsdom");
globalThis.window = new JSDOM("").window;
globalThis.document = window.document;
const { default: mermaid } = await import(pathToFileURL(require.resolve("mermaid")));

async function understood(text) {
  try {
    await mermaid.parse(text);
    const { type, db } = await mermaid.mermaidAPI.getDiagramFromText(text);
    if (type === "flowchart-v2") {
      const edges = db.getEdges().map((edge) => [edge.start, edge.end, edge.text]);
      return { type, nodes: [...db.getVertices().keys()], edges };
    }
    const edges = db.getRelations().map((edge) => [edge.id1, edge.id2, edge.relationTitle ?? ""]);
    return { type, nodes: [...db.getStates().keys()], edges };
  } catch (error) {
    return { error: String(error) };
  }
}

const answers = [];
for (const text of JSON.parse(readFileSync(0, "utf8"))) answers.push(await understood(text));
console.log(JSON.stringify(answers));
