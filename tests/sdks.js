// Makes the six calls by an SDK for Node.js: node sdks.js segment-node HOST WRITE_KEY

const [sdk, host, writeKey] = process.argv.slice(2);

const context = {
  ip: '203.0.113.7',
  userAgent:
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605.1.15',
  groupId: 'acme',
};

function client() {
  if (sdk === 'segment-node') {
    const { Analytics } = require('@segment/analytics-node');
    return new Analytics({ writeKey, host });
  }
  const module = require('@rudderstack/rudder-sdk-node');
  return new (module.default || module)(writeKey, { dataPlaneUrl: host });
}

function calls(to) {
  const userId = 'user-7';
  to.identify({ userId, anonymousId: 'anon-7', traits: { email: 'ada@example.com', plan: 'pro', age: 36 } });
  to.track({
    userId,
    event: 'Order Completed',
    properties: { revenue: 39.5, currency: 'EUR', coupon: null },
    context,
    timestamp: new Date('2025-11-20T09:30:00+02:00'),
  });
  const properties = { url: 'https://example.com/pricing?utm_source=ad', title: 'Prices' };
  to.page({ userId, category: 'Docs', name: 'Pricing', properties });
  to.screen({ userId, category: 'App', name: 'Settings', properties: { tab: 'billing' } });
  to.group({ userId, groupId: 'acme', traits: { name: 'Acme Ltd', employees: 329, groupType: 'company' } });
  to.alias({ previousId: 'anon-7', userId });
}

async function main() {
  const to = client();
  calls(to);
  if (to.closeAndFlush) {
    await to.closeAndFlush();
  } else {
    // What was sent before is on its way when this is called back: whoever started us waits for it.
    await new Promise((done) => to.flush(done));
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
