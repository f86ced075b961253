import { createHash } from 'node:crypto';
import { realpath, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { once } from 'node:events';
import { RunError } from './errors';
import { Lease } from './lease';

export interface OutputLock {
  /** @throws RunError when another run may have the output by now */
  readonly requireHeld: () => Promise<void>;
  readonly release: () => Promise<void>;
}

/**
 * Keeps a second run away from an output. On this machine by a socket that is listened on: whatever ends the process,
 * the system takes it back, so that a killed run never blocks the next. Elsewhere by a lease, which expires.
 * @throws RunError while another run holds it
 */
export async function lockOutput(output: string): Promise<OutputLock> {
  const name = path.join(await realpath(path.dirname(path.resolve(output))), path.basename(output));
  const id = `distillvlm-score-${createHash('sha256').update(name).digest('hex').slice(0, 32)}`;
  // Linux has names for sockets that are no files; elsewhere a file is left behind by a run that was killed.
  const address = process.platform === 'linux' ? `\0${id}` : path.join(tmpdir(), `${id}.sock`);
  const server = (await listen(address)) ?? ((await isHeld(address)) ? undefined : await listenAnew(address));
  const unlock = async (): Promise<void> => {
    if (server !== undefined) {
      server.close();
      await once(server, 'close');
    }
  };
  try {
    const lease = server && (await Lease.take(`${name}.lock`));
    if (lease === undefined) {
      throw new RunError(`Another run is writing ${output}.`);
    }
    return {
      requireHeld: () => lease.requireHeld(),
      release: () => lease.release().finally(unlock),
    };
  } catch (error) {
    await unlock();
    throw error;
  }
}

async function listen(address: string): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  server.unref();
  server.listen(address);
  try {
    await once(server, 'listening');
    return server;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') {
      return undefined;
    }
    throw error;
  }
}

async function isHeld(address: string): Promise<boolean> {
  const socket = connect(address);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function listenAnew(address: string): Promise<Server | undefined> {
  await rm(address, { force: true });
  return listen(address);
}
