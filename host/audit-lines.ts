// Records of the call path as lines of text: the same bytes as audit-encode makes, at a tenth of its cost, because what repeats (parties,
// scopes, rules, codes) is looked at once. What is not plain ASCII goes the strict way; a line never holds a line end.

import type { AuditRecord, Decided, Ended, Party } from '../mesh/audit-record.js'
import { encodeStrictly } from './audit-encode.js'

export interface LineEncoder {
  /** @throws MeshError AUDIT_RECORD_INVALID when it would not read back */
  decided(record: Omit<Decided, 'kind'>): string
  /** @throws MeshError AUDIT_RECORD_INVALID */
  ended(record: Omit<Ended, 'kind'>): string
}

/** @throws MeshError AUDIT_RECORD_INVALID */
export function encodeLine(record: AuditRecord): string {
  return encodeStrictly(record).bytes.toString('utf8')
}

/** What JSON writes as it is. */
const PLAIN = /^[ !#-[\]-~]*$/
/** Of an operation; longer ones go the strict way. */
const OPERATION_MAX = 1024
const NAME_MAX = 256
const CODE_MAX = 64
/** Distinct texts remembered: more than a policy names, and a bound on what a peer can fill. */
const REMEMBERED = 1024

export function openLineEncoder(): LineEncoder {
  const names = openQuotes(NAME_MAX)
  const codes = openQuotes(CODE_MAX)
  const parties = openParties()
  let at = Number.NaN
  let atText = ''
  /** Many records of a turn bear the same instant. */
  const instant = (value: number): string => {
    if (value !== at) {
      atText = isWhole(value) ? String(value) : ''
      at = value
    }
    return atText
  }

  return {
    decided(it) {
      const when = instant(it.at)
      const caller = parties(it.caller)
      const callee = parties(it.callee)
      const scope = names(it.scope)
      const reason = codes(it.reason)
      const rule = names(it.rule)
      const grant = names(it.grant)
      const { callId, operation, policyVersion, traceparent } = it
      const isPlain =
        when !== '' &&
        isPlainText(callId, CODE_MAX) &&
        caller !== undefined &&
        callee !== undefined &&
        isPlainText(operation, OPERATION_MAX) &&
        scope !== undefined &&
        reason !== undefined &&
        rule !== undefined &&
        grant !== undefined &&
        (policyVersion === null || isWhole(policyVersion)) &&
        (traceparent === null || isPlainText(traceparent, NAME_MAX))
      if (!isPlain) return encodeLine({ ...it, kind: 'decided' })
      return (
        `{"kind":"decided","at":${when},"callId":"${callId}","direction":"${it.direction}","caller":${caller},` +
        `"callerKind":"${it.callerKind}","callee":${callee},"operation":"${operation}","scope":${scope},` +
        `"decision":"${it.decision}","reason":${reason},"rule":${rule},"grant":${grant},` +
        `"policyVersion":${policyVersion},"traceparent":${traceparent === null ? 'null' : `"${traceparent}"`}}`
      )
    },
    ended(it) {
      const when = instant(it.at)
      const reason = codes(it.reason)
      const { callId, status, bytesIn, bytesOut, durationUs } = it
      const isPlain =
        when !== '' &&
        isPlainText(callId, CODE_MAX) &&
        reason !== undefined &&
        (status === null || (isWhole(status) && status >= 100 && status <= 999)) &&
        isWhole(bytesIn) &&
        isWhole(bytesOut) &&
        isWhole(durationUs)
      if (!isPlain) return encodeLine({ ...it, kind: 'ended' })
      return (
        `{"kind":"ended","at":${when},"callId":"${callId}","direction":"${it.direction}","outcome":"${it.outcome}",` +
        `"reason":${reason},"status":${status},"bytesIn":${bytesIn},"bytesOut":${bytesOut},"durationUs":${durationUs}}`
      )
    },
  }
}

const isWhole = (value: number): boolean => Number.isSafeInteger(value) && value >= 0
const isPlainText = (value: string, max: number): boolean => value.length <= max && PLAIN.test(value)

/** @returns JSON of a text or null; undefined for what must go the strict way */
function openQuotes(max: number): (value: string | null) => string | undefined {
  const known = new Map<string, string>()
  return (value) => {
    if (value === null) return 'null'
    const quoted = known.get(value)
    if (quoted !== undefined) return quoted
    if (!isPlainText(value, max)) return undefined
    if (known.size >= REMEMBERED) known.clear()
    known.set(value, `"${value}"`)
    return `"${value}"`
  }
}

/** @returns JSON of a party; undefined for one that must go the strict way */
function openParties(): (party: Party) => string | undefined {
  const known = new Map<string, Party & { readonly json: string }>()
  return ({ id, instance, serial }) => {
    const key = serial ?? id ?? ''
    const found = known.get(key)
    if (found?.serial === serial && found.id === id && found.instance === instance) return found.json
    const isPlain =
      (id === null || isPlainText(id, OPERATION_MAX)) &&
      (instance === null || isPlainText(instance, CODE_MAX)) &&
      (serial === null || isPlainText(serial, CODE_MAX))
    if (!isPlain) return undefined
    if (known.size >= REMEMBERED) known.clear()
    const json = JSON.stringify({ id, instance, serial })
    known.set(key, { id, instance, serial, json })
    return json
  }
}
