// A server of its own for a benchmark, and what its processes cost.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';

const MAIN = path.join(import.meta.dirname, '..', '..', 'dist', 'main.js');
export const TICKS_PER_SECOND = 100; // Linux's USER_HZ
const PAGE_BYTES = 4096;

export async function startServer(settings) {
  const server = spawn(process.execPath, [MAIN], {
    env: { ...process.env, PORT: '0', HOST: '127.0.0.1', ...settings },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: server.stdout })) {
    const { event, port } = JSON.parse(line);
    if (event === 'listening') {
      server.stdout.resume();
      const origin = `http://127.0.0.1:${port}`;
      await untilReady(origin);
      return { origin, pid: server.pid, usage: () => usage(server.pid), stop: () => stop(server) };
    }
  }
  throw new Error('The server ended before it listened.');
}

async function untilReady(origin) {
  while (!(await fetch(`${origin}/health/ready`)).ok) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function stop(server) {
  server.kill('SIGTERM');
  const [code] = await once(server, 'exit');
  return code;
}

/** CPU seconds of the server and its inference processes so far, and the memory that they have. */
function usage(pid) {
  let cpuSeconds = 0;
  let serverBytes = 0;
  let inferenceBytes = 0;
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const fields = statOf(name);
    const isServer = Number(name) === pid;
    if (fields !== undefined && (isServer || Number(fields[1]) === pid)) {
      cpuSeconds += cpuSecondsIn(fields);
      const residentBytes = Number(fields[21]) * PAGE_BYTES;
      serverBytes += isServer ? residentBytes : 0;
      inferenceBytes += isServer ? 0 : residentBytes;
    }
  }
  return { cpuSeconds, serverBytes, inferenceBytes };
}

/** CPU seconds of one process so far. */
export function cpuSecondsOf(pid) {
  return cpuSecondsIn(statOf(pid));
}

function cpuSecondsIn(fields) {
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** @returns the fields behind the command's name: state, parent, ...; nothing of a process that has ended */
function statOf(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}
