// A single Spot VM with the worker on it.
targetScope = 'resourceGroup'

@description('The region of the infrastructure.')
param location string = resourceGroup().location

@description('What the names of the infrastructure begin with.')
param name string = 'spotfsm'

@description('The name of the VM.')
@maxLength(64)
param vmName string = '${name}-vm'

@description('A size that can be Spot: no B-series, no promo size. See spotfsm sizes.')
param vmSize string = 'Standard_D2s_v5'

@description('The most to pay in USD an hour, up to five decimals. -1 is the pay-as-you-go price: never evicted for it.')
param maxPrice string = '-1'

@description('What an eviction does to the VM: Delete takes its disks along.')
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

@description('Where the worker answers for its health; 0 is nowhere. Several units on a VM cannot share a port.')
param healthPort int = 0

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

resource networkInterface 'Microsoft.Network/networkInterfaces@2026-03-01' = {
  name: '${vmName}-nic'
  location: location
  properties: {
    ipConfigurations: [
      {
        name: 'workers'
        properties: {
          privateIPAllocationMethod: 'Dynamic'
          subnet: {
            id: '${virtualNetwork.id}/subnets/workers'
          }
        }
      }
    ]
  }
}

resource vm 'Microsoft.Compute/virtualMachines@2026-04-01' = {
  name: vmName
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${worker.id}': {}
    }
  }
  properties: {
    priority: 'Spot'
    evictionPolicy: evictionPolicy
    billingProfile: {
      // Bicep has no decimals of its own.
      maxPrice: json(maxPrice)
    }
    hardwareProfile: {
      vmSize: vmSize
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
      computerName: vmName
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
      networkInterfaces: [
        {
          id: networkInterface.id
          properties: {
            deleteOption: 'Delete'
            primary: true
          }
        }
      ]
    }
    // Without an account of its own: Azure keeps boot diagnostics in one that it manages.
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
  }
}

output vmId string = vm.id
