// A scale set of Spot VMs with the worker on them, over a base of regular ones that is never evicted.
targetScope = 'resourceGroup'

@description('The region of the infrastructure.')
param location string = resourceGroup().location

@description('What the names of the infrastructure begin with.')
param name string = 'spotfsm'

@description('The name of the scale set.')
@maxLength(64)
param scaleSetName string = '${name}-set'

@description('A size that can be Spot: no B-series, no promo size. See spotfsm sizes.')
param vmSize string = 'Standard_D2s_v5'

@description('How many VMs, regular and Spot together.')
@minValue(0)
@maxValue(1000)
param instances int = 3

@description('How many of them are regular before any is Spot.')
@minValue(0)
param regularBase int = 1

@description('How many percent of those above the base are regular.')
@minValue(0)
@maxValue(100)
param regularPercentAboveBase int = 0

@description('How long Azure tries to restore an instance that it evicted for capacity.')
param restoreTimeout string = 'PT1H'

@description('The most to pay in USD an hour, up to five decimals. -1 is the pay-as-you-go price: never evicted for it.')
param maxPrice string = '-1'

@description('What an eviction does to an instance: Delete takes its disks along.')
@allowed([
  'Deallocate'
  'Delete'
])
param evictionPolicy string = 'Deallocate'

@description('The public key of the administrator.')
param adminPublicKey string
param adminUsername string = 'azureuser'

@description('server-arm64 for an Arm size; server-gen1 for a size without generation 2.')
@allowed([
  'server'
  'server-gen1'
  'server-arm64'
])
param imageSku string = 'server'

@description('The version of the VM Application to install, as version.bicep returns it.')
param applicationVersionId string

param storageAccountName string
param queueName string = 'jobs'
param containerName string = 'records'

@description('Where the worker answers for its health, to the platform as well. Several units cannot share it.')
@minValue(1)
@maxValue(65535)
param healthPort int = 8080

module settings 'modules/settings.bicep' = {
  name: 'settings'
  params: {
    name: name
    storageAccountName: storageAccountName
    queueName: queueName
    containerName: containerName
    healthPort: healthPort
  }
}

resource worker 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: '${name}-worker'
}

resource virtualNetwork 'Microsoft.Network/virtualNetworks@2026-03-01' existing = {
  name: '${name}-network'
}

resource scaleSet 'Microsoft.Compute/virtualMachineScaleSets@2026-04-01' = {
  name: scaleSetName
  location: location
  sku: {
    name: vmSize
    tier: 'Standard'
    capacity: instances
  }
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${worker.id}': {}
    }
  }
  properties: {
    orchestrationMode: 'Flexible'
    platformFaultDomainCount: 1
    singlePlacementGroup: false
    // Of the set, not of the profile of its VMs. A change holds for instances that are added later.
    priorityMixPolicy: {
      baseRegularPriorityCount: regularBase
      regularPriorityPercentageAboveBase: regularPercentAboveBase
    }
    spotRestorePolicy: {
      enabled: true
      restoreTimeout: restoreTimeout
    }
    virtualMachineProfile: {
      priority: 'Spot'
      evictionPolicy: evictionPolicy
      billingProfile: {
        // Bicep has no decimals of its own.
        maxPrice: json(maxPrice)
      }
      storageProfile: {
        imageReference: {
          publisher: 'Canonical'
          offer: 'ubuntu-24_04-lts'
          sku: imageSku
          version: 'latest'
        }
        osDisk: {
          createOption: 'FromImage'
          deleteOption: 'Delete'
          managedDisk: {
            storageAccountType: 'StandardSSD_LRS'
          }
        }
      }
      osProfile: {
        computerNamePrefix: take('${scaleSetName}-', 9)
        adminUsername: adminUsername
        customData: settings.outputs.customData
        linuxConfiguration: {
          disablePasswordAuthentication: true
          provisionVMAgent: true
          ssh: {
            publicKeys: [
              {
                path: '/home/${adminUsername}/.ssh/authorized_keys'
                keyData: adminPublicKey
              }
            ]
          }
        }
      }
      networkProfile: {
        networkApiVersion: '2022-11-01'
        networkInterfaceConfigurations: [
          {
            name: 'workers'
            properties: {
              primary: true
              deleteOption: 'Delete'
              ipConfigurations: [
                {
                  name: 'workers'
                  properties: {
                    primary: true
                    subnet: {
                      id: '${virtualNetwork.id}/subnets/workers'
                    }
                  }
                }
              ]
            }
          }
        ]
      }
      diagnosticsProfile: {
        bootDiagnostics: {
          enabled: true
        }
      }
      applicationProfile: {
        galleryApplications: [
          {
            packageReferenceId: applicationVersionId
            order: 1
            // Otherwise an installation that failed is reported as a success.
            treatFailureAsDeploymentFailure: true
          }
        ]
      }
      extensionProfile: {
        extensions: [
          {
            // Asks the worker from inside the VM, over loopback.
            name: 'health'
            properties: {
              publisher: 'Microsoft.ManagedServices'
              type: 'ApplicationHealthLinux'
              typeHandlerVersion: '1.0'
              autoUpgradeMinorVersion: true
              settings: {
                protocol: 'http'
                port: healthPort
                requestPath: '/healthz/all'
                // A minute: a worker that is started anew is no reason for a repair.
                intervalInSeconds: 5
                numberOfProbes: 12
              }
            }
          }
        ]
      }
    }
  }
}

output scaleSetId string = scaleSet.id
