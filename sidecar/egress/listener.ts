// The plaintext doors on loopback: the shared one and one for each `--to`. A request gets past here when it is well-formed, comes
// from a local process and not from a page, knows the local credential, and names an agent.

import net, { type Socket } from 'node:net'
import { listen } from '../../host/http-server.js'
import { errorFields } from '../../host/log.js'
import { NOBODY } from '../../mesh/audit-record.js'
import { asMeshError, MeshError } from '../../mesh/errors.js'
import type { AgentName } from '../../mesh/spiffe-id.js'
import { isIdentityField } from '../call/headers.js'
import { answerProblem } from '../call/problem-answer.js'
import type { RequestHead } from '../http/message.js'
import type { HttpStream, StreamSink } from '../http/stream.js'
import { Recogniser } from '../operation/http.js'
import type { Parts } from '../parts.js'
import { type Door, openDoor } from '../transport/door.js'
import { ServedConnection, type Service } from '../transport/serve.js'
import { READ_BYTES } from '../transport/socket-wire.js'
import { type Address, readAddress } from './address.js'
import { CallOut, type Destination } from './call.js'
import { type CredentialCheck, checkLocal, type DoorNames, namesOfDoor } from './guard.js'
import type { Peers } from './peers.js'
import { type Callee, calleeOf } from './resolve.js'
import { refuseMeshHost, TunnelOut, type Tunnels } from './tunnel.js'

export interface DoorOptions {
  readonly parts: Parts
  readonly peers: Peers
  readonly tunnels: Tunnels
  /** Null: an open door, chosen by the operator. */
  readonly checkCredential: CredentialCheck | null
  /** The one callee of a dedicated port. */
  readonly only: AgentName | null
  readonly port: number
  /** The flag that chooses the port, for the error. */
  readonly flag: string
}

const LOOPBACK = '127.0.0.1'

/**
 * Opens one door.
 * @throws MeshError PORT_BUSY | CONFIG_INVALID
 */
export async function openEgressDoor(options: DoorOptions): Promise<Door> {
  const { turn, sweep, doors, log } = options.parts
  const reads = Buffer.allocUnsafeSlow(READ_BYTES)
  const serving = { turn, sweep, headMs: doors.headMs, reads, protects: isIdentityField }
  const server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true })
  const door = openDoor(server, doors.maxConnections)
  let names = namesOfDoor(options.port)
  server.on('connection', (socket: Socket) => {
    const service = new LocalService(options, names, socket)
    door.hold(new ServedConnection(socket, 'either', service, serving))
  })
  const port = await listen(server, { host: LOOPBACK, port: options.port, flag: options.flag })
  names = namesOfDoor(port)
  // accepting can fail while it runs (too many open files); the door stays
  server.on('error', (error) => log.error('egress.door', errorFields(error)))
  return { ...door, port }
}

/** One connection of a local process. */
class LocalService implements Service {
  readonly #options: DoorOptions
  readonly #names: DoorNames
  readonly #socket: Socket
  /** The credential that it has shown. */
  #proven: string | null = null
  /** Whom it called last, and how it wrote that: most connections say the same with each request. */
  #callee: Callee | undefined
  #host: string | null = null
  #path = ''
  #address: Address | undefined
  readonly #recogniser = new Recogniser()

  constructor(options: DoorOptions, names: DoorNames, socket: Socket) {
    this.#options = options
    this.#names = names
    this.#socket = socket
  }

  onRequest(stream: HttpStream, head: RequestHead, isAbsolute: boolean): StreamSink {
    const { parts, peers, tunnels } = this.#options
    const isTunnel = head.method === 'CONNECT' && head.protocol === null
    const call = isTunnel ? new TunnelOut(parts, tunnels, stream) : new CallOut(parts, peers, stream)
    try {
      if (call instanceof TunnelOut) call.start(head, this.#outside(head))
      else call.start(head, this.#destination(head, isAbsolute))
    } catch (error) {
      const problem = asMeshError(error)
      if (problem.code === 'INTERNAL') parts.log.error('egress.bug', errorFields(problem))
      this.#count(problem)
      call.refuse(problem, head)
    }
    return call.exchange
  }

  onRefused(error: MeshError, answer: HttpStream | null): void {
    this.#count(error)
    if (answer !== null) answerProblem(answer, error)
  }

  /** @throws MeshError of a request that is turned away */
  #destination(head: RequestHead, isAbsolute: boolean): Destination {
    const { checkCredential } = this.#options
    const host = checkLocal(head.fields, head.authority.toLowerCase(), isAbsolute, this.#names)
    const address = this.#read(host, head.path)
    if (checkCredential !== null)
      this.#proven = checkCredential(head.fields, address.credential, this.#proven)
    const recognised = this.#recogniser.recognise(head, address.originForm)
    return { callee: this.#known(address.callee), recognised }
  }

  /** @throws MeshError NOT_A_MESH_HOST | NOT_FOUND | AGENT_NAME_INVALID */
  #read(host: string | null, path: string): Address {
    if (this.#address !== undefined && path === this.#path && host === this.#host) return this.#address
    this.#address = readAddress(host, path, this.#options.only)
    this.#host = host
    this.#path = path
    return this.#address
  }

  /** Whom the name means. */
  #known(name: AgentName): Callee {
    if (this.#callee?.name !== name) this.#callee = calleeOf(this.#options.parts.world.current(), name)
    return this.#callee
  }

  /**
   * Where a tunnel is to lead (RFC 9110 §9.3.6): `host:port`, in lower case.
   * @throws MeshError of a request that is turned away
   */
  #outside(head: RequestHead): string {
    const { tunnels, checkCredential, only } = this.#options
    const authority = head.authority.toLowerCase()
    checkLocal(head.fields, authority, true, this.#names)
    refuseMeshHost(authority)
    if (checkCredential !== null) this.#proven = checkCredential(head.fields, null, this.#proven)
    if (only !== null) throw new MeshError('CONNECT_REFUSED', `this port leads to ${only} only`)
    tunnels.check(authority)
    return authority
  }

  #count({ code }: MeshError): void {
    this.#options.parts.recorder.refused({
      direction: 'egress',
      reason: code,
      peer: NOBODY,
      remoteAddress: this.#socket.remoteAddress ?? null,
    })
  }
}
