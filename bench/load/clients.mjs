// Clients that ask as fast as they are answered (closed loop), or at a pace of their own (open loop).
import http from 'node:http';
import { unique } from './photos.mjs';

const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });

/** @returns what became of each request: { status, ms, retryAfter } */
export async function closedLoop(url, photos, clients, seconds) {
  const results = [];
  const endMs = performance.now() + seconds * 1e3;
  let asked = 0;
  const client = async () => {
    while (performance.now() < endMs) {
      results.push(await ask(url, photos[asked++ % photos.length]));
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return results;
}

/** Requests leave at even intervals, whatever becomes of those before. */
export async function openLoop(url, photos, perSecond, seconds) {
  const results = [];
  const startMs = performance.now();
  const total = Math.round(perSecond * seconds);
  for (let asked = 0; asked < total; asked += 1) {
    const waitMs = startMs + (asked * 1e3) / perSecond - performance.now();
    if (waitMs > 0) {
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
    results.push(ask(url, photos[asked % photos.length]));
  }
  return Promise.all(results);
}

export function ask(url, photo) {
  const startMs = performance.now();
  return new Promise((resolve) => {
    const end = (status, retryAfter) => resolve({ status, retryAfter, ms: performance.now() - startMs });
    const request = http.request(
      url,
      { method: 'POST', agent, headers: { 'content-type': 'image/jpeg' } },
      (response) => {
        response.resume().on('end', () => end(response.statusCode, response.headers['retry-after']));
        response.on('error', () => end('cut off'));
      },
    );
    request.on('error', ({ code }) => end(code));
    request.end(unique(photo));
  });
}
