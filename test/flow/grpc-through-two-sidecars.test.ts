import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { parseAgentName } from '../../mesh/spiffe-id.js'
import { startMesh, type TestMesh, type TestSidecar } from '../support/start-mesh.js'

const asIs = (bytes: Buffer): Buffer => bytes
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/tickets/${name}`,
  requestStream,
  responseStream,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
})
const SERVICE = {
  unary: method('Unary', false, false),
  gather: method('Gather', true, false),
  count: method('Count', false, true),
  chat: method('Chat', true, true),
}

interface GrpcApp extends AsyncDisposable {
  readonly place: { readonly host: string; readonly port: number }
  /** The server has seen that a call was given up. */
  readonly cancelled: Promise<void>
}

function unary(call: grpc.ServerUnaryCall<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>): void {
  const asked = call.request.toString()
  const trailer = new grpc.Metadata()
  trailer.set('x-sum', '42')
  if (asked === 'fail') answer({ code: grpc.status.NOT_FOUND, details: 'no such ticket', metadata: trailer })
  else if (asked !== 'wait') {
    const caller = call.metadata.get('x-troth-caller').join()
    answer(null, Buffer.from(asked === 'who' ? caller : asked), trailer)
  }
}

/** A server of grpc-js: echoes, counts, gathers; says nothing to "wait". */
async function startGrpcApp(): Promise<GrpcApp> {
  const server = new grpc.Server()
  let cancel: () => void = () => undefined
  const cancelled = new Promise<void>((resolve) => {
    cancel = resolve
  })
  server.addService(SERVICE, {
    unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>) => {
      call.on('cancelled', cancel)
      unary(call, answer)
    },
    gather: (call: grpc.ServerReadableStream<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>) => {
      const heard: Buffer[] = []
      call.on('data', (message: Buffer) => heard.push(message))
      call.on('end', () => answer(null, Buffer.concat(heard)))
    },
    count: (call: grpc.ServerWritableStream<Buffer, Buffer>) => {
      for (let nth = 0; nth < Number(call.request.toString()); nth += 1) call.write(Buffer.from(String(nth)))
      call.end()
    },
    chat: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
      call.on('cancelled', cancel)
      call.on('data', (message: Buffer) => call.write(message))
      call.on('end', () => call.end())
    },
  })
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    )
  })
  return {
    place: { host: '127.0.0.1', port },
    cancelled,
    [Symbol.asyncDispose]() {
      server.forceShutdown()
      return Promise.resolve()
    },
  }
}

interface Client extends Disposable {
  readonly client: grpc.Client
  readonly metadata: grpc.Metadata
  /** One message there, one back; rejects with the status. */
  ask(message: string | Buffer, options?: grpc.CallOptions, path?: string): Promise<Buffer>
}

/** A client of grpc-js at the egress of a sidecar; by the shared door unless a port of one callee is given. */
function openClient(sidecar: TestSidecar, port: number | null = null, callee = 'tickets'): Client {
  const client = new grpc.Client(
    `127.0.0.1:${port ?? sidecar.ports.egress}`,
    grpc.credentials.createInsecure(),
    port === null ? { 'grpc.default_authority': `${callee}.mesh` } : {},
  )
  const metadata = new grpc.Metadata()
  metadata.set('x-troth-local-credential', sidecar.credential)
  return {
    client,
    metadata,
    ask: (message, options = {}, path = SERVICE.unary.path) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(path, asIs, asIs, Buffer.from(message), metadata, options, (error, answer) =>
          error === null ? resolve(answer ?? Buffer.alloc(0)) : reject(error),
        )
      }),
    [Symbol.dispose]: () => client.close(),
  }
}

async function startTickets(
  app: GrpcApp,
): Promise<TestMesh & { tickets: TestSidecar; planner: TestSidecar }> {
  const mesh = await startMesh()
  const tickets = await mesh.start('tickets', { app: app.place })
  const planner = await mesh.start('planner', {
    to: [{ callee: parseAgentName('tickets'), port: 0, open: false }],
  })
  return Object.assign(mesh, { tickets, planner })
}

describe('a client of grpc-js and a server of grpc-js', () => {
  it('make unary calls under the proven name, small and large', async () => {
    await using app = await startGrpcApp()
    await using mesh = await startTickets(app)
    using planner = openClient(mesh.planner)
    expect((await planner.ask('who')).toString()).toBe(mesh.id('planner'))
    const large = Buffer.alloc(3_000_000, 'g')
    expect((await planner.ask(large)).equals(large)).toBe(true)
    expect(await mesh.tickets.records.end(1)).toMatchObject({ outcome: 'completed', bytesIn: 3_000_005 })
  })

  it('stream up, down, and both ways at once', async () => {
    await using app = await startGrpcApp()
    await using mesh = await startTickets(app)
    using planner = openClient(mesh.planner)
    const { client, metadata } = planner
    const gathered = await new Promise<string>((resolve, reject) => {
      const call = client.makeClientStreamRequest(
        SERVICE.gather.path,
        asIs,
        asIs,
        metadata,
        (error, answer?: Buffer) => (error === null ? resolve(String(answer)) : reject(error)),
      )
      for (const part of ['one ', 'two ', 'three']) call.write(Buffer.from(part))
      call.end()
    })
    expect(gathered).toBe('one two three')
    const counted: string[] = []
    const down = client.makeServerStreamRequest(SERVICE.count.path, asIs, asIs, Buffer.from('100'), metadata)
    for await (const message of down as AsyncIterable<Buffer>) counted.push(message.toString())
    expect(counted).toEqual(Array.from({ length: 100 }, (_, nth) => String(nth)))
    const chat = client.makeBidiStreamRequest(SERVICE.chat.path, asIs, asIs, metadata)
    for (const word of ['a', 'b', 'c']) {
      chat.write(Buffer.from(word))
      const echo = await new Promise<Buffer>((resolve) => chat.once('data', resolve))
      expect(echo.toString()).toBe(word)
    }
    const over = new Promise<grpc.StatusObject>((resolve) => chat.once('status', resolve))
    chat.end()
    chat.resume()
    expect((await over).code).toBe(grpc.status.OK)
    for (const nth of [0, 1, 2])
      expect(await mesh.planner.records.end(nth)).toMatchObject({ outcome: 'completed', status: 200 })
  })

  it('tell a failure in trailers, with its words and metadata', async () => {
    await using app = await startGrpcApp()
    await using mesh = await startTickets(app)
    using planner = openClient(mesh.planner)
    const failure = (await planner.ask('fail').catch((error: unknown) => error)) as grpc.ServiceError
    expect([failure.code, failure.details]).toEqual([grpc.status.NOT_FOUND, 'no such ticket'])
    expect(failure.metadata.get('x-sum')).toEqual(['42'])
    expect(await mesh.planner.records.end()).toMatchObject({ outcome: 'completed', status: 200 })
  })

  it('keep deadlines at both ends', async () => {
    await using app = await startGrpcApp()
    await using mesh = await startTickets(app)
    using planner = openClient(mesh.planner)
    await expect(planner.ask('wait', { deadline: Date.now() + 200 })).rejects.toMatchObject({
      code: grpc.status.DEADLINE_EXCEEDED,
    })
    await app.cancelled
    expect(await mesh.tickets.records.end()).toBeDefined()
  })

  it('cancel in the middle: the server hears of it at once', async () => {
    await using app = await startGrpcApp()
    await using mesh = await startTickets(app)
    using planner = openClient(mesh.planner)
    const chat = planner.client.makeBidiStreamRequest(SERVICE.chat.path, asIs, asIs, planner.metadata)
    const over = new Promise<grpc.StatusObject>((resolve) => chat.once('status', resolve))
    chat.on('error', () => undefined)
    chat.write(Buffer.from('word'))
    await new Promise((resolve) => chat.once('data', resolve))
    chat.cancel()
    await app.cancelled
    expect((await over).code).toBe(grpc.status.CANCELLED)
    for (const { records } of [mesh.planner, mesh.tickets])
      expect(await records.end()).toMatchObject({ outcome: 'aborted' })
  })

  it('meet at a port of the callee, with the credential in either place', async () => {
    await using app = await startGrpcApp()
    await using mesh = await startTickets(app)
    using planner = openClient(mesh.planner, mesh.planner.ports.to['tickets'])
    expect((await planner.ask('hello')).toString()).toBe('hello')
    planner.metadata.remove('x-troth-local-credential')
    planner.metadata.set('proxy-authorization', `Bearer ${mesh.planner.credential}`)
    expect((await planner.ask('hello')).toString()).toBe('hello')
  })
})

describe('a client of grpc-js reads our own answers as', () => {
  it('PERMISSION_DENIED when policy denies, UNAVAILABLE when nobody is there', async () => {
    await using app = await startGrpcApp()
    await using mesh = await startTickets(app)
    using planner = openClient(mesh.planner)
    await expect(planner.ask('x', {}, '/other/Unary')).rejects.toMatchObject({
      code: grpc.status.PERMISSION_DENIED,
    })
    await app[Symbol.asyncDispose]()
    await expect(planner.ask('x')).rejects.toMatchObject({ code: grpc.status.UNAVAILABLE })
    await mesh.tickets.sidecar.close()
    await expect(planner.ask('x')).rejects.toMatchObject({ code: grpc.status.UNAVAILABLE })
  })

  it('an error when it shows no credential', async () => {
    await using app = await startGrpcApp()
    await using mesh = await startTickets(app)
    using planner = openClient(mesh.planner)
    planner.metadata.remove('x-troth-local-credential')
    await expect(planner.ask('x')).rejects.toMatchObject({ code: grpc.status.UNKNOWN })
  })
})
