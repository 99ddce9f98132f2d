// A plain HTTP request as an operation: its method, and its path in the one form that is judged, recorded and forwarded.

import { MeshError } from '../../mesh/errors.js'
import { type Operation, parseMethod, parseTarget } from '../../mesh/operation.js'

export interface Recognised {
  readonly operation: Operation
  /** Path and query to send on: exactly what was judged. */
  readonly target: string
}

/**
 * @param head a WebSocket is opened by GET, however the wire writes that (RFC 6455 §4.1, RFC 8441 §5)
 * @throws MeshError CALL_MALFORMED | CALL_PATH_REFUSED | CALL_UPGRADE_REFUSED | CONNECT_REFUSED
 */
export function recognise(
  { method, protocol }: { readonly method: string; readonly protocol: string | null },
  originForm: string,
): Recognised {
  // TRACE would show the caller what only the app may see: the secrets and the identity that the last hop adds
  if (method === 'TRACE') throw new MeshError('CALL_MALFORMED', 'TRACE is not served')
  if (method === 'CONNECT' && protocol !== 'websocket')
    throw protocol === null
      ? new MeshError('CONNECT_REFUSED', 'CONNECT is not served')
      : new MeshError('CALL_UPGRADE_REFUSED', 'of protocols only websocket is served')
  const { path, query } = parseTarget(originForm)
  const judged = protocol === null ? parseMethod(method) : 'GET'
  return { operation: { protocol: 'http', method: judged, path }, target: path + query }
}
