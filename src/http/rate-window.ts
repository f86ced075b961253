import type { ClientRateLimitInfo, Store } from 'express-rate-limit';

interface Client {
  hits: number;
  /** On the clock that only goes forward. */
  readonly endsMs: number;
}

/**
 * Counts requests of each client in windows of their own. The library's own store reads the wall clock: set back by an
 * hour, it would keep a client out for that hour.
 */
export class RateWindows implements Store {
  /** A window that begins later ends later, so the first ones expire first. */
  private readonly clients = new Map<string, Client>();

  constructor(
    private readonly windowMs: number,
    private readonly nowMs: () => number = () => performance.now(),
  ) {}

  increment(key: string): ClientRateLimitInfo {
    const nowMs = this.nowMs();
    this.dropExpired(nowMs);
    const client = this.clients.get(key) ?? { hits: 0, endsMs: nowMs + this.windowMs };
    client.hits += 1;
    this.clients.set(key, client);
    return { totalHits: client.hits, resetTime: new Date(Date.now() + client.endsMs - nowMs) };
  }

  decrement(key: string): void {
    const client = this.clients.get(key);
    if (client !== undefined) {
      client.hits -= 1;
    }
  }

  resetKey(key: string): void {
    this.clients.delete(key);
  }

  private dropExpired(nowMs: number): void {
    for (const [key, { endsMs }] of this.clients) {
      if (endsMs > nowMs) {
        return;
      }
      this.clients.delete(key);
    }
  }
}
