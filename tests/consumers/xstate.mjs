// XState on a machine and cases from standard input: for each case where it leads and what decided it.
//
// A guard's parameters say what it stands for; an action puts the event of its parameters, with the same facts.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { readFileSync } from "node:fs";

const require = createRequire(pathToFileURL(`${process.argv[2]}/package.json`));
const { createMachine, raise, transition } = require("xstate");

const { machine: config, cases } = JSON.parse(readFileSync(0, "utf8"));
const named = { guard: new Set(), actions: new Set() };
JSON.stringify(config, (key, value) => {
  for (const one of key in named ? [value].flat() : []) named[key].add(one.type);
  return value;
});
const holds = ({ event }, { when, unless }) =>
  when.every((fact) => event.facts.includes(fact)) && !unless.some((fact) => event.facts.includes(fact));
const put = raise(({ event }, { event: type }) => ({ type, facts: event.facts }));
const machine = createMachine(config).provide({
  guards: Object.fromEntries([...named.guard].map((name) => [name, holds])),
  actions: Object.fromEntries([...named.actions].map((name) => [name, put])),
});

const answers = cases.map(({ state, type, facts }) => {
  const event = { type, facts };
  const before = machine.resolveState({ value: state });
  const decided = machine.getTransitionData(before, event);
  const [after] = transition(machine, before, event);
  return { value: after.value, metas: decided.map(({ meta }) => meta) };
});
console.log(JSON.stringify(answers));
