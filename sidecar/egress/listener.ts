// The plaintext doors on loopback: the shared one and one for each `--to`. A request gets past here when it is well-formed, comes
// from a local process and not from a page, knows the local credential, and names an agent.

import http, { type Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { listen } from '../../host/http-server.js'
import { errorFields } from '../../host/log.js'
import { asMeshError, type MeshError } from '../../mesh/errors.js'
import type { AgentName } from '../../mesh/spiffe-id.js'
import { isIdentityField } from '../call/headers.js'
import { dropRest } from '../call/linger.js'
import { answerOnSocket, answerProblem } from '../call/problem-answer.js'
import { type Arrived, HTTP1_LIMITS, remoteAddressOf, serveHttp1 } from '../http1/server.js'
import type { Parts } from '../parts.js'
import { readAddress } from './address.js'
import { callOut, readOutbound } from './call.js'
import { type CredentialCheck, checkLocal } from './guard.js'
import type { Pools } from './pool.js'

export interface DoorOptions {
  readonly parts: Parts
  readonly pools: Pools
  /** Null: an open door, chosen by the operator. */
  readonly checkCredential: CredentialCheck | null
  /** The one callee of a dedicated port. */
  readonly only: AgentName | null
  readonly port: number
  /** The flag that chooses the port, for the error. */
  readonly flag: string
}

export interface LocalDoor {
  readonly port: number
  readonly server: Server
}

const LOOPBACK = '127.0.0.1'
const NOBODY = { id: null, instance: null, serial: null }

/**
 * Opens one door.
 * @throws MeshError PORT_BUSY | CONFIG_INVALID
 */
export async function openEgressDoor(options: DoorOptions): Promise<LocalDoor> {
  const { parts } = options
  const server = http.createServer({ ...HTTP1_LIMITS, headersTimeout: parts.doors.headMs })
  server.maxConnections = parts.doors.maxConnections
  let port = options.port

  const refused = (error: MeshError, socket: Duplex): void =>
    parts.recorder.refused({
      direction: 'egress',
      reason: error.code,
      peer: NOBODY,
      remoteAddress: remoteAddressOf(socket),
    })

  serveHttp1(server, {
    isIdentity: isIdentityField,
    refuseSilently: refused,
    serve: (arrived) => serve({ ...options, port }, arrived, refused),
    refuse(error, request, response) {
      refused(error, request.socket)
      answerProblem(response, error)
    },
    refuseSocket(error, socket) {
      refused(error, socket)
      answerOnSocket(socket, error, { clock: parts.clock })
    },
  })
  port = await listen(server, { host: LOOPBACK, port: options.port, flag: options.flag })
  // accepting can fail while it runs (too many open files); the door stays
  server.on('error', (error) => parts.log.error('egress.door', errorFields(error)))
  return { port, server }
}

function serve(
  { parts, pools, checkCredential, only, port }: DoorOptions,
  arrived: Arrived,
  refused: (error: MeshError, socket: Duplex) => void,
): void {
  const { head, request, response } = arrived
  const end = parts.inFlight.begin()
  response.once('close', end)
  try {
    checkLocal(head, port)
    const address = readAddress(head, only)
    checkCredential?.(head.fields, address.credential)
    const outbound = readOutbound(parts, arrived, address)
    callOut(parts, pools, outbound).then(end, (error: unknown) => {
      end()
      parts.log.error('egress.bug', errorFields(error))
    })
  } catch (error) {
    const problem = asMeshError(error)
    if (problem.code === 'INTERNAL') parts.log.error('egress.bug', errorFields(problem))
    refused(problem, request.socket)
    dropRest(request, parts.clock)
    answerProblem(response, problem)
  }
}
