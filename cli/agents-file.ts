// The file of `troth sidecar --config`: the agents that one process serves, each with the settings that flags give a single one, by the
// same names and in the same forms. Everything wrong is named by line and column. It holds no secret: tokens are files.

import path from 'node:path'
import { InvalidArgumentError } from 'commander'
import { MeshError } from '../mesh/errors.js'
import { type AgentName, parseAgentName } from '../mesh/spiffe-id.js'
import {
  type Findings,
  openYaml,
  type Place,
  readEntries,
  readList,
  readMap,
  readParsed,
  readSome,
} from '../mesh/yaml.js'
import { appAddress, type CalleePort, calleePort, host, hostAndPort, port } from './arguments.js'
import { readGiven } from './given-file.js'
import { egressAuth, instanceName, type SidecarOptions } from './sidecar-options.js'

/** One agent of the file. */
export interface ListedAgent {
  readonly agent: AgentName
  readonly options: SidecarOptions
}

/** What flags say for every agent that does not say otherwise. */
export type ForAll = Pick<SidecarOptions, 'listen' | 'egressAuth' | 'logLevel'>

const MAX_BYTES = 256 * 1024
const MAX_AGENTS = 256
const MAX_CALLEES = 256

const KEYS = [
  'agent',
  'instance',
  'app',
  'to',
  'token',
  'listen',
  'advertise',
  'egressPort',
  'ingressPort',
  'adminPort',
  'egressAuth',
]

/**
 * The agents of the file, in its order; relative paths in it are meant from where it lies.
 * @throws MeshError CONFIG_MISSING | STATE_UNREADABLE; CONFIG_INVALID with one line for each finding, `<file>:<line>:<column>: <what>`
 */
export function readAgentsFile(file: string, forAll: ForAll): ListedAgent[] {
  const yaml = readGiven(file, 'name the file that lists the agents')
  return parseAgents(yaml, file, forAll)
}

/** @throws MeshError CONFIG_INVALID */
export function parseAgents(yaml: string, file: string, forAll: ForAll): ListedAgent[] {
  const { root, findings } = openYaml(yaml, {
    file,
    code: 'CONFIG_INVALID',
    maxBytes: MAX_BYTES,
    schema: 'failsafe',
  })
  const places = readList(
    readMap(root, 'the file', ['agents'], findings)?.get('agents'),
    'agents',
    MAX_AGENTS,
    findings,
  )
  findings.check()
  if (places.length === 0) findings.add(0, 'agents is empty; list at least one')
  const used = openUsed(findings)
  const agents = places.flatMap((place) =>
    readAgent(place, { forAll, used, dir: path.dirname(file) }, findings),
  )
  findings.check()
  return agents
}

interface Context {
  readonly forAll: ForAll
  readonly used: Used
  /** Of the file. */
  readonly dir: string
}

function readAgent(place: Place, { forAll, used, dir }: Context, findings: Findings): ListedAgent[] {
  const fields = readSome(place, 'an agent', KEYS, findings)
  if (fields === undefined) return []
  const read = <T>(key: string, parse: (raw: string) => T): T | undefined =>
    readParsed(fields.get(key), key, asFinding(parse), findings)
  if (!fields.has('agent')) findings.add(place.offset, 'an agent needs agent, its name')
  const agent = read('agent', parseAgentName)
  const given = {
    instance: read('instance', instanceName),
    app: read('app', (raw) => beside(dir, appAddress(raw))),
    to: readCallees(fields.get('to'), used, findings),
    token: read('token', (raw) => tokenFile(dir, raw)),
    listen: read('listen', host),
    advertise: read('advertise', hostAndPort),
    egressPort: read('egressPort', port),
    ingressPort: read('ingressPort', port),
    adminPort: read('adminPort', port),
    egressAuth: read('egressAuth', egressAuth),
  }
  for (const key of ['egressPort', 'adminPort'] as const)
    used.port(LOOPBACK, given[key], fields.get(key)?.offset ?? 0)
  used.port(given.listen ?? forAll.listen ?? '', given.ingressPort, fields.get('ingressPort')?.offset ?? 0)
  if (agent === undefined) return []
  used.once(
    given.instance === undefined ? `agent ${agent}` : `instance ${given.instance} of agent ${agent}`,
    place.offset,
  )
  return [{ agent, options: { ...forAll, ...withoutAbsent(given) } }]
}

/** `to`: `callee: PORT`, or `callee: PORT,open`. */
function readCallees(place: Place | undefined, used: Used, findings: Findings): CalleePort[] | undefined {
  if (place === undefined) return undefined
  return readEntries(place, 'to', MAX_CALLEES, findings).flatMap(({ key, value }) => {
    const one =
      readParsed(
        value,
        `to ${key}`,
        asFinding((raw) => calleePort(`${key}=${raw}`)),
        findings,
      ) ?? []
    for (const callee of one) used.port(LOOPBACK, callee.port, value.offset)
    return one
  })
}

const LOOPBACK = '127.0.0.1'
/** Where a port is taken for all of them; an ingress that names no address listens on one of these. */
const SHARED_ADDRESSES: ReadonlySet<string> = new Set(['', LOOPBACK, 'localhost', '::1', '0.0.0.0', '::'])

/** What stands in the file already, and where. */
interface Used {
  once(what: string, offset: number): void
  /** 0 and undefined: any free one. */
  port(host: string, port: number | undefined, offset: number): void
}

function openUsed(findings: Findings): Used {
  const lines = new Map<string, number>()
  const once = (what: string, offset: number): void => {
    const first = lines.get(what)
    if (first === undefined) lines.set(what, findings.lineOf(offset))
    else findings.add(offset, `${what} stands twice (first in line ${first})`)
  }
  return {
    once,
    port(at, number, offset) {
      if (number === undefined || number === 0) return
      once(SHARED_ADDRESSES.has(at) ? `port ${number}` : `port ${number} of ${at}`, offset)
    },
  }
}

/** What a parser of flags refuses is a finding of the file. */
const asFinding =
  <T>(parse: (raw: string) => T) =>
  (raw: string): T => {
    try {
      return parse(raw)
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error
      throw new MeshError(
        'CONFIG_INVALID',
        `${JSON.stringify(raw.slice(0, 80))} is refused. ${error.message}`,
      )
    }
  }

function tokenFile(dir: string, raw: string): string {
  const name = raw.startsWith('file:') ? raw.slice('file:'.length) : ''
  // not shown: it may be the token itself
  if (name === '')
    throw new MeshError('CONFIG_INVALID', 'token must be file:PATH; it is no place for a secret')
  return `file:${path.resolve(dir, name)}`
}

const beside = (dir: string, app: ReturnType<typeof appAddress>): ReturnType<typeof appAddress> =>
  'socketPath' in app ? { socketPath: path.resolve(dir, app.socketPath) } : app

/** The fields that are there. */
function withoutAbsent<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>
  }
}
