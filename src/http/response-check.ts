import type { RequestHandler } from 'express';
import { type ApiDocument, templateOf } from './openapi';

/** Holds every JSON response against openapi.yaml before it is sent; one that breaks it becomes an internal error. */
export function responseCheck(document: ApiDocument): RequestHandler {
  return (request, response, next) => {
    const send = response.json.bind(response);
    response.json = (body: unknown) => {
      const mediaType = (response.get('Content-Type') ?? 'application/json').split(';', 1)[0] ?? '';
      const path = (request.route as { path: string } | undefined)?.path ?? request.path;
      const fault = document.checkResponse(templateOf(path), request.method, response.statusCode, mediaType, body);
      response.json = send;
      if (fault !== undefined) {
        throw new Error(fault);
      }
      return send(body);
    };
    next();
  };
}
