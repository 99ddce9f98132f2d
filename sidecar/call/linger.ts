// What is left of a request that was answered before it was whole is read and dropped for a moment: closing at once would reset the
// connection, and the answer would be lost with it.

import type { IncomingMessage } from 'node:http'
import type { CallClock } from './outcome.js'

const LINGER_MS = 2000

/** Harmless for a request that is whole. */
export function dropRest(request: IncomingMessage, clock: Pick<CallClock, 'after'>): void {
  request.resume()
  clock.after(LINGER_MS, () => {
    if (!request.complete) request.socket.destroy()
  })
}
