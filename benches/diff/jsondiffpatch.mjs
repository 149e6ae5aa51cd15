// Compares two files with jsondiffpatch, which is told what tells items apart: how many changes, then the milliseconds of CPU of each round.
import { readFileSync } from 'node:fs';
import * as jsondiffpatch from 'MODULE';

const differ = jsondiffpatch.create({ objectHash: (item) => item.id });
const [expected, actual] = process.argv.slice(2).map((path) => readFileSync(path, 'utf8'));
const count = (delta) => {
  if (delta === undefined) return 0;
  if (Array.isArray(delta)) return 1;
  return Object.entries(delta).reduce((sum, [name, inner]) => sum + (name === '_t' ? 0 : count(inner)), 0);
};
const times = [];
let delta;
const until = performance.now() + 10000;
for (let round = 0; round < 11 && performance.now() < until; round += 1) {
  const start = process.cpuUsage();
  delta = differ.diff(JSON.parse(expected), JSON.parse(actual));
  const { user, system } = process.cpuUsage(start);
  times.push((user + system) / 1000);
}
console.log([count(delta), ...times].join('\n'));
