// W3C Trace Context: a valid traceparent is passed on untouched, anything else is replaced by a new one, so that both ledgers and
// the app's own traces can be joined.

import { firstOf, type RawFields, valuesOf } from '../http/message.js'
import type { CallIds } from './call-id.js'

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[ -~]*)?$/

export interface Trace {
  readonly traceparent: string
  /** True when the request carried it: it stays where it stands. False: it is new, and tracestate goes with the old one. */
  readonly received: boolean
}

/**
 * @param callId names the trace when it is new
 * @see W3C Trace Context §2.2, §4.3
 */
export function traceOf(fields: RawFields, ids: CallIds, callId: string): Trace {
  const value = firstOf(fields, 'traceparent')
  if (value !== undefined && valuesOf(fields, 'traceparent').length === 1 && isTraceparent(value))
    return { traceparent: value, received: true }
  return { traceparent: ids.traceparent(callId), received: false }
}

function isTraceparent(value: string): boolean {
  if (value.length > 256) return false
  const [, version, traceId, parentId, , more] = TRACEPARENT.exec(value) ?? []
  if (version === undefined || version === 'ff' || (version === '00' && more !== undefined)) return false
  return !/^0+$/.test(traceId ?? '') && !/^0+$/.test(parentId ?? '')
}
