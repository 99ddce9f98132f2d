// The words of a policy: what a document says once it is parsed, and the slice of it that one member needs. Lines are kept, so
// that every decision can name the line that made it.

import { integer, listOf, type Read, record, text, word } from '../parse.js'

/** `resource:action`; a grant may say `resource:*`. Lower-case letters, digits, `-` and `_`, each part at most 64. */
const SCOPE = /^[a-z0-9][a-z0-9_-]{0,63}:([a-z0-9][a-z0-9_-]{0,63}|\*)$/

export const isScope = (raw: string): boolean => SCOPE.test(raw) && !raw.endsWith(':*')
export const isGrant = (raw: string): boolean => SCOPE.test(raw)

/** The grant that covers every action on the scope's resource: `tickets:*` of `tickets:read`. */
export const wholeResource = (scope: string): string => `${scope.slice(0, scope.indexOf(':'))}:*`

/** True when a grant (`tickets:*` or `tickets:read`) covers the scope. */
export function grantCovers(grant: string, scope: string): boolean {
  return grant === scope || grant === wholeResource(scope)
}

/** Bounds of a document and of what is sent of it. */
export const POLICY_MAX = {
  bytes: 1024 * 1024,
  agents: 10_000,
  grants: 256,
  services: 10_000,
  operations: 1024,
} as const

const that = (holds: (raw: string) => boolean, what: string) => (raw: string) => {
  if (!holds(raw)) throw new Error(`${JSON.stringify(raw)} is not ${what}`)
  return raw
}

const grant = record({ scope: word(that(isGrant, 'a scope'), 129), line: integer(1) })
export type Grant = Read<typeof grant>

/** Who holds what: `id` is `agent/planner`, a pattern `agent/web-*`, or a whole SPIFFE ID of any mesh. */
const agentRule = record({ id: text(2048), grants: listOf(grant, POLICY_MAX.grants), line: integer(1) })
export type AgentRule = Read<typeof agentRule>

/** What an operation of a callee needs. `method` is an HTTP method or `*`; `path` a pattern: `*` is one segment, `**` any rest. */
const operationRule = record({
  method: text(32),
  path: text(1024),
  scope: word(that(isScope, 'a scope'), 129),
  line: integer(1),
})
export type OperationRule = Read<typeof operationRule>

/** A callee, `agent/tickets`, and what its operations need. */
const serviceRule = record({
  id: text(2048),
  operations: listOf(operationRule, POLICY_MAX.operations),
  line: integer(1),
})
export type ServiceRule = Read<typeof serviceRule>

/** A parsed document, or a slice of one. `version` counts pushes at the CA; 0 before it was pushed. */
export const READ_POLICY = record({
  version: integer(0),
  agents: listOf(agentRule, POLICY_MAX.agents),
  services: listOf(serviceRule, POLICY_MAX.services),
})
export type Policy = Read<typeof READ_POLICY>

export const EMPTY_POLICY: Policy = { version: 0, agents: [], services: [] }

/** How a line of the document is named in decisions and records. */
export const lineName = (line: number): string => `policy.yaml:${line}`
