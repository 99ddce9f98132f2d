import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { expect, test } from 'vitest'
import { type Delivery, openStore } from '../../../collector/store.js'
import { encodeStrictly } from '../../../host/audit-encode.js'
import type { SpiffeId } from '../../../mesh/spiffe-id.js'
import { copyLedger, decidedCall, PLANNER, scratchDir, TICKETS } from '../../support/audit-records.js'

const AUTHOR = PLANNER.id as SpiffeId
const OTHER = TICKETS.id as SpiffeId
const LEDGER = randomUUID()

const some = (count: number): Delivery['records'] =>
  Array.from({ length: count }, () => {
    const record = { kind: 'decided', ...decidedCall() } as const
    return { record, encoded: encodeStrictly(record) }
  })

const delivery = (firstSeq: number, records: Delivery['records'], author = AUTHOR): Delivery => ({
  ledgerId: LEDGER,
  author,
  firstSeq,
  records,
  now: 1000,
})

const storeIn = (dir: string) => openStore(path.join(dir, 'ledger.db'))

test('a ledger begins at zero and grows', async () => {
  using scratch = scratchDir()
  const store = storeIn(scratch.dir)
  expect(await store.nextSeq(LEDGER, AUTHOR)).toBe(0)
  expect(await store.appendShipment(delivery(0, some(3)))).toEqual({ appended: 3, nextSeq: 3 })
  expect(await store.appendShipment(delivery(3, some(2)))).toEqual({ appended: 2, nextSeq: 5 })
  expect(await store.nextSeq(LEDGER, AUTHOR)).toBe(5)
  await store.close()
})

test('the same records again change nothing, also when they overlap what is new', async () => {
  using scratch = scratchDir()
  const store = storeIn(scratch.dir)
  const records = some(4)
  await store.appendShipment(delivery(0, records.slice(0, 3)))
  expect(await store.appendShipment(delivery(0, records.slice(0, 3)))).toEqual({ appended: 0, nextSeq: 3 })
  expect(await store.appendShipment(delivery(1, records.slice(1)))).toEqual({ appended: 1, nextSeq: 4 })
  await store.close()
})

test('a gap is refused and names the sequence number that is wanted', async () => {
  using scratch = scratchDir()
  const store = storeIn(scratch.dir)
  await store.appendShipment(delivery(0, some(2)))
  await expect(store.appendShipment(delivery(3, some(1)))).rejects.toMatchObject({
    code: 'AUDIT_SEQUENCE',
    message: expect.stringContaining('continues at 2') as string,
  })
  expect(await store.nextSeq(LEDGER, AUTHOR)).toBe(2)
  await store.close()
})

test('other bytes for a record that is held are refused whole', async () => {
  using scratch = scratchDir()
  const store = storeIn(scratch.dir)
  const records = some(2)
  await store.appendShipment(delivery(0, records))
  await expect(store.appendShipment(delivery(0, [...records.slice(0, 1), ...some(2)]))).rejects.toMatchObject(
    {
      code: 'AUDIT_SEQUENCE',
    },
  )
  expect(await store.nextSeq(LEDGER, AUTHOR)).toBe(2)
  await store.close()
})

test('a ledger belongs to its first author', async () => {
  using scratch = scratchDir()
  const store = storeIn(scratch.dir)
  await store.appendShipment(delivery(0, some(1)))
  await expect(store.appendShipment(delivery(1, some(1), OTHER))).rejects.toMatchObject({
    code: 'AUDIT_FOREIGN',
  })
  await expect(store.nextSeq(LEDGER, OTHER)).rejects.toMatchObject({ code: 'AUDIT_FOREIGN' })
  await store.close()
})

test('an empty shipment claims nothing', async () => {
  using scratch = scratchDir()
  const store = storeIn(scratch.dir)
  expect(await store.appendShipment(delivery(0, []))).toEqual({ appended: 0, nextSeq: 0 })
  expect(await store.appendShipment(delivery(0, some(1), OTHER))).toEqual({ appended: 1, nextSeq: 1 })
  await store.close()
})

test('what was acknowledged is there after a kill', async () => {
  using scratch = scratchDir()
  using copy = scratchDir()
  const store = storeIn(scratch.dir)
  await store.appendShipment(delivery(0, some(50)))
  copyLedger(scratch.dir, copy.dir)
  const again = storeIn(copy.dir)
  expect(await again.nextSeq(LEDGER, AUTHOR)).toBe(50)
  await again.close()
  await store.close()
})
