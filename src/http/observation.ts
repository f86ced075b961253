import type { Request, RequestHandler } from 'express';
import type { Logger } from '../logger';
import type { Metrics } from './metrics';
import { endSpan, type Tracing } from './tracing';

/** Counts, traces and logs each request when its response has gone out, or its client has. */
export function observation(metrics: Metrics, tracing: Tracing, logger: Logger): RequestHandler {
  return (request, response, next) => {
    const start = performance.now();
    const span = tracing.begin(request.headers);
    const { traceId } = span.spanContext();
    response.locals.traceId = traceId;
    response.once('close', () => {
      const outcome = response.writableFinished ? response.locals.outcome : 'client_closed';
      const durationMs = performance.now() - start;
      const route = routeOf(request);
      const { requestId, client } = response.locals;
      const { method } = request;
      const status = response.statusCode;
      metrics.observe(route, outcome, durationMs / 1000);
      endSpan(span, { method, route, status, outcome });
      logger.info({ event: 'request', requestId, traceId, client, method, route, status, outcome, durationMs });
    });
    next();
  };
}

/** The route's pattern: a path is a client's text, and each one would become a series of the metrics. */
function routeOf(request: Request): string {
  const route = request.route as { readonly path: string } | undefined;
  return route?.path ?? 'none';
}
