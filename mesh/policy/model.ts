// The words of a policy: what a document says once it is parsed, and the slice of it that one member needs. Lines are kept, so
// that every decision can name the line that made it.

import { integer, listOf, type Read, record, text } from '../parse.js'

/** `resource:action`; a grant may say `resource:*`. Lower-case letters, digits, `-` and `_`, each part at most 64. */
const SCOPE = /^[a-z0-9][a-z0-9_-]{0,63}:([a-z0-9][a-z0-9_-]{0,63}|\*)$/

export const isScope = (raw: string): boolean => SCOPE.test(raw) && !raw.endsWith(':*')
export const isGrant = (raw: string): boolean => SCOPE.test(raw)

/** True when a grant (`tickets:*` or `tickets:read`) covers the scope. */
export function grantCovers(grant: string, scope: string): boolean {
  return grant === scope || (grant.endsWith(':*') && scope.startsWith(grant.slice(0, -1)))
}

/** Who holds what: `id` is `agent/planner`, a pattern `agent/web-*`, or a whole SPIFFE ID of any mesh. */
const agentRule = record({ id: text(2048), scopes: listOf(text(129), 256), line: integer(1) })
export type AgentRule = Read<typeof agentRule>

/** What an operation of a callee needs. `method` is an HTTP method or `*`; `path` a pattern: `*` is one segment, `**` any rest. */
const operationRule = record({ method: text(32), path: text(1024), scope: text(129), line: integer(1) })
export type OperationRule = Read<typeof operationRule>

const serviceRule = record({ id: text(2048), operations: listOf(operationRule, 1024), line: integer(1) })
export type ServiceRule = Read<typeof serviceRule>

/** A parsed document, or a slice of one. `version` counts pushes at the CA; 0 before it was pushed. */
export const READ_POLICY = record({
  version: integer(0),
  agents: listOf(agentRule, 10_000),
  services: listOf(serviceRule, 10_000),
})
export type Policy = Read<typeof READ_POLICY>

/** The most bytes a policy document may have. */
export const POLICY_MAX_BYTES = 1024 * 1024

export const EMPTY_POLICY: Policy = { version: 0, agents: [], services: [] }
