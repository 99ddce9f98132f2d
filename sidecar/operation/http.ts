// A plain HTTP request as an operation: its method, and its path in the one form that is judged, recorded and forwarded.

import { MeshError } from '../../mesh/errors.js'
import { formatOperation, type Operation, parseMethod, parseTarget } from '../../mesh/operation.js'
import type { RequestHead } from '../http/message.js'

export interface Recognised {
  readonly operation: Operation
  /** The operation as records name it. */
  readonly text: string
  /** Path and query to send on: exactly what was judged. */
  readonly target: string
}

/** What the wire says of an operation beside its path. */
type Said = Pick<RequestHead, 'method' | 'protocol'>

/**
 * @param head a WebSocket is opened by GET, however the wire writes that (RFC 6455 §4.1, RFC 8441 §5)
 * @throws MeshError CALL_MALFORMED | CALL_PATH_REFUSED | CALL_UPGRADE_REFUSED | CONNECT_REFUSED
 */
export function recognise({ method, protocol }: Said, originForm: string): Recognised {
  // TRACE would show the caller what only the app may see: the secrets and the identity that the last hop adds
  if (method === 'TRACE') throw new MeshError('CALL_MALFORMED', 'TRACE is not served')
  if (method === 'CONNECT' && protocol !== 'websocket')
    throw protocol === null
      ? new MeshError('CONNECT_REFUSED', 'CONNECT is not served')
      : new MeshError('CALL_UPGRADE_REFUSED', 'of protocols only websocket is served')
  const { path, query } = parseTarget(originForm)
  const judged = protocol === null ? parseMethod(method) : 'GET'
  const operation: Operation = { protocol: 'http', method: judged, path }
  return { operation, text: formatOperation(operation), target: path + query }
}

/** Of one connection, whose requests mostly name one operation again and again: what was recognised last is not read anew. */
export class Recogniser {
  #method = ''
  #protocol: string | null = null
  #originForm = ''
  #last: Recognised | undefined

  /** As `recognise`. */
  recognise(head: Said, originForm: string): Recognised {
    const { method, protocol } = head
    if (this.#last !== undefined && originForm === this.#originForm)
      if (method === this.#method && protocol === this.#protocol) return this.#last
    this.#last = recognise(head, originForm)
    this.#method = method
    this.#protocol = protocol
    this.#originForm = originForm
    return this.#last
  }
}
