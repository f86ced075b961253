import helmet from 'helmet';
import { IncomingMessage, type OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { Socket } from 'node:net';

function helmetHeaders(): OutgoingHttpHeaders {
  const sample = new ServerResponse(new IncomingMessage(new Socket()));
  const setHeaders = helmet({
    // The server itself speaks plain HTTP: these two would make browsers load the page's files by HTTPS.
    contentSecurityPolicy: { directives: { upgradeInsecureRequests: null } },
    strictTransportSecurity: false,
  });
  setHeaders(sample.req, sample, () => undefined);
  return sample.getHeaders();
}

/** Helmet's, which are the same for every response and therefore asked for once. */
export const SECURITY_HEADERS: Readonly<OutgoingHttpHeaders> = helmetHeaders();
