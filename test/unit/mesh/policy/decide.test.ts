import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { isMap, isSeq, parseDocument } from 'yaml'
import { parseTarget } from '../../../../mesh/operation.js'
import { compilePolicy } from '../../../../mesh/policy/compile.js'
import { type Decision, decide, type Question } from '../../../../mesh/policy/decide.js'
import { parsePolicy } from '../../../../mesh/policy/document.js'
import { EMPTY_POLICY } from '../../../../mesh/policy/model.js'
import { parseSpiffeId, parseTrustDomain, type SpiffeId } from '../../../../mesh/spiffe-id.js'

type Row = readonly [string, string, string, string, string, string | null, string | null, string | null]

const vectors = JSON.parse(readFileSync('test/vectors/decisions.json', 'utf8')) as {
  trustDomain: string
  policy: string
  questions: Row[]
}
const yaml = readFileSync(`test/vectors/${vectors.policy}`, 'utf8')
const trustDomain = parseTrustDomain(vectors.trustDomain)
const policy = compilePolicy({ ...parsePolicy(yaml), version: 7 }, trustDomain)

const idOf = (name: string): SpiffeId =>
  parseSpiffeId(name.startsWith('spiffe://') ? name : `spiffe://${trustDomain}/${name}`)

const questionOf = ([caller, callee, method, target]: readonly [
  string,
  string,
  string,
  string,
  ...unknown[],
]): Question => ({
  caller: idOf(caller),
  callee: idOf(callee),
  operation: { protocol: 'http', method, path: parseTarget(target).path },
})

/** Merges the suggested entries into the document, as its reader would by hand. */
function merged(document: string, suggestion: string): string {
  const [into, from] = [parseDocument(document), parseDocument(suggestion)]
  for (const key of ['agents', 'services']) {
    const entries = from.get(key)
    if (!isSeq(entries)) continue
    for (const entry of entries.items) {
      const list = into.get(key)
      if (!isSeq(list) || !isMap(entry)) throw new Error('not the shape of a policy')
      const same = list.items.find((each) => isMap(each) && each.get('id') === entry.get('id'))
      const operations = isMap(same) && key === 'services' ? same.get('operations') : undefined
      const added = entry.get('operations')
      if (isSeq(operations) && isSeq(added)) operations.items.push(...added.items)
      else list.items.push(entry)
    }
  }
  return into.toString()
}

const summary = (decision: Decision): unknown[] =>
  decision.verdict === 'permit'
    ? ['permit', decision.scope, decision.rule, decision.grant]
    : [decision.code, decision.scope, decision.rule, null]

describe('a decision', () => {
  it.each(vectors.questions)('%s -> %s %s %s: %s %s', (...row) => {
    expect(summary(decide(policy, questionOf(row)))).toEqual(row.slice(4))
  })

  it.each(
    vectors.questions.filter(
      ([, callee, , , verdict]) => verdict !== 'permit' && callee.startsWith('agent/'),
    ),
  )('%s -> %s %s %s: the suggested lines, merged into the policy, allow it', (...row) => {
    const question = questionOf(row)
    const denial = decide(policy, question)
    if (denial.verdict !== 'deny') throw new Error('it is permitted')
    const mended = compilePolicy(parsePolicy(merged(yaml, denial.suggestion)), trustDomain)
    expect(decide(mended, question).verdict).toBe('permit')
  })

  it('carries the version of the policy and every grant of the caller', () => {
    expect(decide(policy, questionOf(['agent/planner', 'agent/tickets', 'GET', '/tickets']))).toMatchObject({
      policyVersion: 7,
      scopes: ['search:ping', 'search:query', 'tickets:read', 'tickets:write'],
    })
  })

  it('is a denial for everybody before a policy was pushed', () => {
    const none = compilePolicy(EMPTY_POLICY, trustDomain)
    const denial = decide(none, questionOf(['agent/planner', 'agent/tickets', 'GET', '/']))
    expect(denial).toMatchObject({ verdict: 'deny', code: 'POLICY_NO_SERVICE', policyVersion: 0 })
  })

  it.each(['/%2A', '/a,b/[c]/{d}', `/${'long/'.repeat(60)}x`, `/${'y'.repeat(4000)}`, "/it's/&co/!x", '/'])(
    'suggests lines that parse and allow %s',
    (target) => {
      const question = questionOf(['agent/planner', 'agent/tickets', 'POST', target])
      const denial = decide(policy, question)
      if (denial.verdict !== 'deny') throw new Error('it is permitted')
      const mended = compilePolicy(parsePolicy(merged(yaml, denial.suggestion)), trustDomain)
      expect(decide(mended, question).verdict).toBe('permit')
    },
  )

  it('answers the same for a caller among ten thousand others', () => {
    const question = questionOf(['agent/web-1', 'agent/search', 'POST', '/query'])
    for (let n = 0; n < 10_000; n += 1) policy.holdingOf(idOf(`agent/n${n}`))
    expect(decide(policy, question)).toEqual(decide(policy, question))
    expect(decide(policy, question).verdict).toBe('permit')
  })
})
