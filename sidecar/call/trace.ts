// W3C Trace Context: a valid traceparent is passed on untouched, anything else is replaced by a new one, so that both ledgers and
// the app's own traces can be joined.

import { onlyOf, type RawFields } from '../http/message.js'
import type { CallIds } from './call-id.js'

/** Of any version but ff; more than the four parts only in versions to come. */
const TRACEPARENT =
  /^(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}|(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[ -~]*)?)$/
const MAX_LENGTH = 256

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
  const value = onlyOf(fields, 'traceparent')
  if (value !== undefined && value.length <= MAX_LENGTH && TRACEPARENT.test(value))
    return { traceparent: value, received: true }
  return { traceparent: ids.traceparent(callId), received: false }
}
