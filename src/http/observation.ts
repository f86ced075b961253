import type { Request, RequestHandler } from 'express';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '../logger';
import type { Metrics } from './metrics';
import type { RequestOutcome } from './request-context';
import { endSpan, type Tracing } from './tracing';

/** Who is told of requests. */
export interface Observers {
  readonly metrics: Metrics;
  readonly tracing: Tracing;
  readonly logger: Logger;
}

/** What a request is called, and what became of it. */
export interface Described {
  readonly requestId: string;
  /** Owner of its key, where keys are asked for. */
  readonly client?: string | undefined;
  /** The route's pattern: a path is a client's text, and each one would become a series of the metrics. */
  readonly route: string;
  readonly outcome: RequestOutcome;
}

/**
 * Counts, traces and logs a request when its response has gone out, or its client has.
 * @param describe asked then
 */
export function observe(
  { metrics, tracing, logger }: Observers,
  request: IncomingMessage,
  response: ServerResponse,
  describe: () => Described,
): void {
  const startMs = performance.now();
  const span = tracing.begin(request.headers);
  response.once('close', () => {
    const { requestId, client, route, ...described } = describe();
    const outcome = response.writableFinished ? described.outcome : 'client_closed';
    const durationMs = performance.now() - startMs;
    const { method = '' } = request;
    const { traceId } = span.spanContext();
    const status = response.statusCode;
    metrics.observe(route, outcome, durationMs / 1000);
    endSpan(span, { method, route, status, outcome });
    logger.info({ event: 'request', requestId, traceId, client, method, route, status, outcome, durationMs });
  });
}

/** Observes each request that Express answers. */
export function observation(observers: Observers): RequestHandler {
  return (request, response, next) => {
    observe(observers, request, response, () => ({ ...response.locals, route: routeOf(request) }));
    next();
  };
}

function routeOf(request: Request): string {
  const route = request.route as { readonly path: string } | undefined;
  return route?.path ?? 'none';
}
