// Clients that ask as fast as they are answered (closed loop), or at a pace of their own (open loop).
import http from 'node:http';
import { unique } from './photos.mjs';

/**
 * Asks about all photos equally often: a few of them cost as much as all others.
 * @returns what became of each request: { photo, status, ms, retryAfter }
 */
export async function closedLoop(url, photos, clients, seconds) {
  const results = [];
  const agent = keepAliveAgent();
  const endMs = performance.now() + seconds * 1e3;
  let asked = 0;
  const client = async () => {
    while (performance.now() < endMs || asked % photos.length > 0) {
      const photo = asked++ % photos.length;
      results.push({ photo, ...(await ask(url, photos[photo], agent)) });
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  agent.destroy();
  return results;
}

/** Requests leave at even intervals, whatever becomes of those before. */
export async function openLoop(url, photos, perSecond, seconds, headers = {}) {
  const results = [];
  const agent = keepAliveAgent();
  const startMs = performance.now();
  const total = Math.round(perSecond * seconds);
  for (let asked = 0; asked < total; asked += 1) {
    const waitMs = startMs + (asked * 1e3) / perSecond - performance.now();
    if (waitMs > 0) {
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
    const photo = asked % photos.length;
    results.push(ask(url, photos[photo], agent, headers).then((result) => ({ photo, ...result })));
  }
  const ended = await Promise.all(results);
  agent.destroy();
  return ended;
}

/** One for each load: connections that were idle in between may be closed by the server just when they are used. */
function keepAliveAgent() {
  return new http.Agent({ keepAlive: true, maxSockets: Infinity });
}

function ask(url, photo, agent, headers = {}) {
  const startMs = performance.now();
  return new Promise((resolve) => {
    const end = (status, retryAfter) => resolve({ status, retryAfter, ms: performance.now() - startMs });
    const request = http.request(
      url,
      { method: 'POST', agent, headers: { 'content-type': 'image/jpeg', ...headers } },
      (response) => {
        response.resume().on('end', () => end(response.statusCode, response.headers['retry-after']));
        response.on('error', () => end('cut off'));
      },
    );
    request.on('error', ({ code }) => end(code));
    request.end(unique(photo));
  });
}
