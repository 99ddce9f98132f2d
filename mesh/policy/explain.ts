// A decision in words, for `can` and `why`: what was asked, what decided, by which lines, and what would change it.

import type { Verdict } from '../audit-record.js'

/** A decision as the admin wire answers it and as the ledger keeps it. */
export interface Explained {
  /** Names as they are to be shown: agent names or whole SPIFFE IDs. */
  readonly caller: string
  readonly callee: string
  /** E.g. `GET /tickets/42`. */
  readonly operation: string
  readonly decision: Verdict
  /** `OK` or the error code of the denial. */
  readonly code: string
  readonly scope: string | null
  readonly rule: string | null
  readonly grant: string | null
  readonly policyVersion: number | null
  /** YAML that would allow it; null when it is allowed or nothing was kept. */
  readonly suggestion: string | null
}

/** Several lines without a last newline. */
export function explain(decided: Explained): string {
  const { caller, callee, operation, decision, policyVersion } = decided
  const may = decision === 'permit' ? 'may' : 'may not'
  const head = [`${decision}: ${caller} ${may} ${operation} at ${callee}`]
  const version = policyVersion === null ? [] : [`  policy version ${policyVersion}`]
  return [...head, ...(decision === 'permit' ? whyPermitted(decided) : whyDenied(decided)), ...version].join(
    '\n',
  )
}

function whyPermitted({ caller, scope, rule, grant }: Explained): string[] {
  if (scope === null) return []
  return [
    `  the operation needs ${scope}${by(rule)}`,
    ...(grant === null ? [] : [`  ${caller} holds it${by(grant)}`]),
  ]
}

function whyDenied({ caller, callee, operation, code, scope, rule, suggestion }: Explained): string[] {
  const reasons: Record<string, string[]> = {
    POLICY_NO_SERVICE: [`  the policy says nothing of ${callee}`],
    POLICY_NO_OPERATION: [`  no operation of ${callee}${by(rule)} matches ${operation}`],
    POLICY_SCOPE_MISSING: [
      `  the operation needs ${scope ?? 'a scope'}${by(rule)}`,
      `  ${caller} does not hold it`,
    ],
  }
  const would =
    suggestion === null ? [] : ['  this would allow it, merged into the policy:', indented(suggestion)]
  return [`  reason ${code}`, ...(Object.hasOwn(reasons, code) ? (reasons[code] ?? []) : []), ...would]
}

const by = (line: string | null): string => (line === null ? '' : ` (${line})`)
const indented = (yaml: string): string => yaml.replace(/^/gm, '    ')
