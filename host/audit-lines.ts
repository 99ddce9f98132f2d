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
  const middles = openMiddles(names, codes)
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
      const { callId, traceparent } = it
      const middle = middles(it)
      const isPlain =
        when !== '' &&
        isPlainText(callId, CODE_MAX) &&
        middle !== undefined &&
        (traceparent === null || isPlainText(traceparent, NAME_MAX))
      if (!isPlain) return encodeLine({ ...it, kind: 'decided' })
      const trace = traceparent === null ? 'null' : `"${traceparent}"`
      return `{"kind":"decided","at":${when},"callId":"${callId}",${middle},"traceparent":${trace}}`
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

type Decision = Omit<Decided, 'kind'>

/** All that stands in a decision between its call id and its trace. */
interface Middle {
  readonly of: Decision
  readonly json: string
}

/** Decisions whose middle is remembered, by operation: a call is mostly decided as the last one of its kind was. */
const REMEMBERED_MIDDLES = 256

type Quotes = ReturnType<typeof openQuotes>

/** @returns members of JSON; undefined for what must go the strict way */
function openMiddles(names: Quotes, codes: Quotes): (decided: Decision) => string | undefined {
  const parties = openParties()
  const known = new Map<string, Middle>()
  const make = (it: Decision): string | undefined => {
    const caller = parties(it.caller)
    const callee = parties(it.callee)
    const scope = names(it.scope)
    const reason = codes(it.reason)
    const rule = names(it.rule)
    const grant = names(it.grant)
    const { operation, policyVersion } = it
    const isPlain =
      caller !== undefined &&
      callee !== undefined &&
      isPlainText(operation, OPERATION_MAX) &&
      scope !== undefined &&
      reason !== undefined &&
      rule !== undefined &&
      grant !== undefined &&
      (policyVersion === null || isWhole(policyVersion))
    if (!isPlain) return undefined
    return (
      `"direction":"${it.direction}","caller":${caller},"callerKind":"${it.callerKind}","callee":${callee},` +
      `"operation":"${operation}","scope":${scope},"decision":"${it.decision}","reason":${reason},"rule":${rule},` +
      `"grant":${grant},"policyVersion":${policyVersion}`
    )
  }
  return (it) => {
    const found = known.get(it.operation)
    if (found !== undefined && hasSameMiddle(found.of, it)) return found.json
    const json = make(it)
    if (json === undefined) return undefined
    if (known.size >= REMEMBERED_MIDDLES) known.clear()
    const flat = inOnePiece(json)
    known.set(it.operation, { of: it, json: flat })
    return flat
  }
}

/** What was put together from pieces is copied piece by piece wherever it is read. */
const inOnePiece = (ascii: string): string => Buffer.from(ascii, 'latin1').toString('latin1')

const hasSameMiddle = (one: Decision, other: Decision): boolean =>
  one.direction === other.direction &&
  isSameParty(one.caller, other.caller) &&
  one.callerKind === other.callerKind &&
  isSameParty(one.callee, other.callee) &&
  one.operation === other.operation &&
  one.scope === other.scope &&
  one.decision === other.decision &&
  one.reason === other.reason &&
  one.rule === other.rule &&
  one.grant === other.grant &&
  one.policyVersion === other.policyVersion

const isSameParty = (one: Party, other: Party): boolean =>
  one.id === other.id && one.instance === other.instance && one.serial === other.serial

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
