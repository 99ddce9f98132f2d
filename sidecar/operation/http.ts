// A plain HTTP request as an operation: its method, and its path in the one form that is judged, recorded and forwarded.

import { type Operation, parseMethod, parseTarget } from '../../mesh/operation.js'

export interface Recognised {
  readonly operation: Operation
  /** Path and query to send on: exactly what was judged. */
  readonly target: string
}

/** @throws MeshError CALL_MALFORMED | CALL_PATH_REFUSED */
export function recognise(method: string, originForm: string): Recognised {
  const { path, query } = parseTarget(originForm)
  return { operation: { protocol: 'http', method: parseMethod(method), path }, target: path + query }
}
