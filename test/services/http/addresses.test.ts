/**
 * Addresses: which are one neighbourhood, and which proxies are trusted.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { addressBlock, readTrustedProxies } from '../../../src/services/http/addresses.ts';

describe('The block of an address', () => {
  test('is the /24 of IPv4, also inside IPv6', () => {
    assert.equal(addressBlock('203.0.113.7'), '203.0.113.0/24');
    assert.equal(addressBlock('203.0.113.200'), '203.0.113.0/24');
    assert.equal(addressBlock('::ffff:203.0.113.7'), '203.0.113.0/24');
    assert.equal(addressBlock('::FFFF:cb00:7107'), '203.0.113.0/24');
    assert.notEqual(addressBlock('203.0.114.7'), addressBlock('203.0.113.7'));
  });

  test('is the /56 of IPv6', () => {
    assert.equal(addressBlock('2001:db8:1:2203::1'), addressBlock('2001:db8:1:22ff:ffff::2'));
    assert.notEqual(addressBlock('2001:db8:1:2203::1'), addressBlock('2001:db8:1:2303::1'));
  });

  test('is one for all that is no address', () => {
    assert.equal(addressBlock('unknown'), addressBlock('203.0.113'));
    assert.equal(addressBlock(''), 'unknown');
  });
});

describe('Trusted proxies', () => {
  test('are those in any of the CIDRs, of either version', () => {
    const isTrusted = readTrustedProxies(['10.0.0.0/8', '2001:db8::/32', '192.0.2.1', '::ffff:198.51.100.0/120']);
    for (const address of ['10.1.2.3', '::ffff:10.1.2.3', '2001:db8:5::1', '192.0.2.1', '198.51.100.9']) {
      assert.ok(isTrusted(address), address);
    }
    for (const address of ['11.0.0.1', '2001:db9::1', '192.0.2.2', '198.51.101.1', 'unknown', '']) {
      assert.ok(!isTrusted(address), address);
    }
  });

  test('are refused by name when they are no CIDRs', () => {
    for (const text of ['10.0.0.0/33', 'proxy.example', '10', '', '10.0.0.0/8,11.0.0.0/8']) {
      assert.throws(() => readTrustedProxies([text]), new Error(`${text} is neither a CIDR nor an address`));
    }
  });
});
