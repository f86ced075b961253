import { STATUS_CODES } from 'node:http';
import { ERRORS, type ErrorCode } from '../errors';
import { PROBLEM_TYPE, toProblem } from './problem';
import { SECURITY_HEADERS } from './security-headers';

/** What Node says of a request that it could not read to its end. */
const UNREAD: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: ['body_too_slow', 'The request has not arrived in time.'],
  HPE_HEADER_OVERFLOW: ['limit_exceeded', 'The path and the headers are too long.'],
};

/** The whole response, byte for byte, to what is no request that could be answered otherwise. */
export function answerToUnread({ code = '' }: NodeJS.ErrnoException): string {
  const [problemCode, detail] = UNREAD[code] ?? ['invalid_request', 'This is not HTTP/1.1 as a server can read it.'];
  const { status } = ERRORS[problemCode];
  const body = JSON.stringify(toProblem({ code: problemCode, detail }));
  const headers = {
    ...SECURITY_HEADERS,
    'Content-Type': `${PROBLEM_TYPE}; charset=utf-8`,
    'Content-Length': Buffer.byteLength(body),
    Connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${String(value)}`);
  return [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...lines, '', body].join('\r\n');
}
