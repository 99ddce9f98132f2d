// A server of ours under test, past its handshake, with what its user and its peer hear.

import { takeRequests } from './http2-log.js'
import { type Bench, HELLO, openServer, PREFACE } from './http2-raw.js'

export const startServer = (
  limits: Parameters<typeof openServer>[1] = {},
  consume = true,
): ReturnType<typeof takeRequests> & { bench: Bench<ReturnType<typeof openServer>['connection']> } => {
  const requests = takeRequests(consume)
  const bench = openServer(requests.events, limits).feed(PREFACE, HELLO)
  bench.frames()
  return { ...requests, bench }
}
