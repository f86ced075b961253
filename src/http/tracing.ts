import { defaultTextMapGetter, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor, type SpanProcessor } from '@opentelemetry/sdk-trace-base';
import type { IncomingHttpHeaders } from 'node:http';

/** Where spans are sent to, by OTLP over HTTP. */
export interface TraceExport {
  /** Such as http://localhost:4318. */
  readonly endpoint: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** A collector that does not answer must not hold up the end of the server. */
const EXPORT_TIMEOUT_MS = 1_500;

/** What is known of a request at its end. */
export interface RequestEnd {
  readonly method: string;
  readonly route: string;
  readonly status: number;
  readonly outcome: string;
}

/** A span for each request, in the caller's trace where it sends a `traceparent` (W3C Trace Context). */
export class Tracing {
  private readonly provider: BasicTracerProvider;
  private readonly propagator = new W3CTraceContextPropagator();

  /** @param processors what becomes of spans; without any, they only give requests their trace ids */
  constructor(processors: SpanProcessor[] = []) {
    const resource = resourceFromAttributes({ 'service.name': 'distillvlm' });
    this.provider = new BasicTracerProvider({ resource, spanProcessors: processors });
  }

  static exporting({ endpoint, headers }: TraceExport): Tracing {
    const exporter = new OTLPTraceExporter({
      url: `${endpoint.replace(/\/+$/, '')}/v1/traces`,
      headers: Object.fromEntries(headers),
      timeoutMillis: EXPORT_TIMEOUT_MS,
    });
    return new Tracing([new BatchSpanProcessor(exporter)]);
  }

  begin(headers: IncomingHttpHeaders): Span {
    const parent = this.propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter);
    return this.provider.getTracer('distillvlm').startSpan('request', { kind: SpanKind.SERVER }, parent);
  }

  /** Sends what is left. */
  async close(): Promise<void> {
    await this.provider.shutdown();
  }
}

export function endSpan(span: Span, { method, route, status, outcome }: RequestEnd): void {
  span.updateName(`${method} ${route}`);
  span.setAttributes({
    'http.request.method': method,
    'http.route': route,
    'http.response.status_code': status,
    'distillvlm.outcome': outcome,
  });
  if (status >= 500) {
    span.setStatus({ code: SpanStatusCode.ERROR });
  }
  span.end();
}
