// The form of policy.yaml, version 1: who holds which scopes, and what each operation of a callee needs. Unknown keys, duplicates and
// malformed words are errors; everything wrong is named by line and column, at most twenty findings at once. docs/policy.md and
// docs/policy.schema.json describe the same form.

import { MeshError } from '../errors.js'
import { parseMethod } from '../operation.js'
import { type Findings, openYaml, type Place, readList, readMap, readOne, readWord } from '../yaml.js'
import { parseAgentPattern, parseServiceName } from './agent-pattern.js'
import {
  type AgentRule,
  type Grant,
  isGrant,
  isScope,
  type OperationRule,
  POLICY_MAX,
  type Policy,
  type ServiceRule,
} from './model.js'
import { parsePathPattern, patternKey } from './path-pattern.js'

/**
 * Reads a policy document. The answer's version is 0: the CA counts pushes.
 * @throws MeshError POLICY_MALFORMED: one line for each finding, `policy.yaml:<line>:<column>: <what>`
 */
export function parsePolicy(yaml: string): Policy {
  const { root, findings } = openYaml(yaml, {
    file: 'policy.yaml',
    code: 'POLICY_MALFORMED',
    maxBytes: POLICY_MAX.bytes,
    schema: 'core',
  })
  const policy = readDocument(root, findings)
  findings.check()
  return policy
}

function readDocument(root: Place, findings: Findings): Policy {
  const fields = readMap(root, 'a policy', ['version', 'agents', 'services'], findings)
  readOne(fields?.get('version'), 'version', findings)
  const agents = readList(fields?.get('agents'), 'agents', POLICY_MAX.agents, findings)
  const services = readList(fields?.get('services'), 'services', POLICY_MAX.services, findings)
  const firstLines = new Map<string, number>()
  return {
    version: 0,
    agents: agents.flatMap((place) => readAgent(place, findings)),
    services: services.flatMap((place) => readService(place, firstLines, findings)),
  }
}

function readAgent(place: Place, findings: Findings): AgentRule[] {
  const fields = readMap(place, 'an agent', ['id', 'scopes'], findings)
  const id = readWord(fields?.get('id'), 'id', parseAgentPattern, findings)
  const scopes = readList(fields?.get('scopes'), 'scopes', POLICY_MAX.grants, findings)
  const grants = scopes.flatMap((each): Grant[] => {
    const scope = readWord(each, 'a scope', checkGrant, findings)
    return scope === undefined ? [] : [{ scope, line: findings.lineOf(each.offset) }]
  })
  return id === undefined ? [] : [{ id, grants, line: findings.lineOf(place.offset) }]
}

function readService(place: Place, firstLines: Map<string, number>, findings: Findings): ServiceRule[] {
  const fields = readMap(place, 'a service', ['id', 'operations'], findings)
  const id = readWord(fields?.get('id'), 'id', parseServiceName, findings)
  const line = findings.lineOf(place.offset)
  if (id !== undefined) {
    const first = firstLines.get(id)
    if (first !== undefined)
      findings.add(
        place.offset,
        `service ${id} stands twice (first in line ${first}); put its operations together`,
      )
    else firstLines.set(id, line)
  }
  const known = new Map<string, number>()
  const operations = readList(fields?.get('operations'), 'operations', POLICY_MAX.operations, findings)
  const rules = operations.flatMap((each) => readOperation(each, known, findings))
  return id === undefined ? [] : [{ id, operations: rules, line }]
}

function readOperation(place: Place, known: Map<string, number>, findings: Findings): OperationRule[] {
  const fields = readMap(place, 'an operation', ['match', 'scope'], findings)
  const match = fields?.get('match')
  const parts = match && readMap(match, 'match', ['method', 'path'], findings)
  const method = readWord(parts?.get('method'), 'method', checkMethod, findings)
  const path = readWord(parts?.get('path'), 'path', parsePathPattern, findings)
  const scope = readWord(fields?.get('scope'), 'scope', checkScope, findings)
  if (method === undefined || path === undefined || scope === undefined) return []
  const line = findings.lineOf(place.offset)
  const key = `${method} ${patternKey(parsePathPattern(path))}`
  const first = known.get(key)
  if (first !== undefined)
    findings.add(place.offset, `${method} ${path} stands twice (first in line ${first})`)
  known.set(key, line)
  return [{ method, path, scope, line }]
}

function checkGrant(raw: string): void {
  if (!isGrant(raw))
    throw malformed(`${shown(raw)} is not a scope; write resource:action or resource:*, lower-case`)
}

function checkScope(raw: string): void {
  if (!isScope(raw))
    throw malformed(`${shown(raw)} is not a scope; an operation needs one resource:action, lower-case`)
}

function checkMethod(raw: string): void {
  if (raw === '*') return
  try {
    parseMethod(raw)
  } catch {
    throw malformed(`method ${shown(raw)} must be an upper-case HTTP method or "*"`)
  }
}

const shown = (raw: string): string => JSON.stringify(raw.slice(0, 80))
const malformed = (message: string): MeshError => new MeshError('POLICY_MALFORMED', message)
