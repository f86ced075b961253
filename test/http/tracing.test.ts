import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { Tracing } from '../../src/http/tracing';
import { TestServer } from './test-server';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';

async function logged(server: TestServer, lines: number): Promise<{ traceId: string }[]> {
  while (server.log.length < lines) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return server.log.map((line) => JSON.parse(line) as { traceId: string });
}

test("a request is a span in its caller's trace, whose id is in the log", async () => {
  const exporter = new InMemorySpanExporter();
  const server = await TestServer.start({ tracing: new Tracing([new SimpleSpanProcessor(exporter)]) });
  await server.get('/health/live', { headers: { traceparent: `00-${TRACE}-${PARENT}-01` } });
  const [line] = await logged(server, 1);
  await server.close();
  expect(line?.traceId).toBe(TRACE);
  const [span] = exporter.getFinishedSpans();
  expect(span).toMatchObject({ name: 'GET /health/live', parentSpanContext: { traceId: TRACE, spanId: PARENT } });
  expect(span?.attributes).toMatchObject({ 'http.response.status_code': 200, 'distillvlm.outcome': 'ok' });
});

test.each([undefined, 'nonsense', `00-${'0'.repeat(32)}-${PARENT}-01`])(
  'traceparent %s begins a trace of its own',
  async (traceparent) => {
    const server = await TestServer.start();
    await server.get('/health/live', { headers: traceparent === undefined ? {} : { traceparent } });
    const [line] = await logged(server, 1);
    await server.close();
    expect(line?.traceId).toMatch(/^(?!0{32})[0-9a-f]{32}$/);
  },
);
